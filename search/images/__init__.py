"""What is looked at: image files, the views that training makes of them, and made-up images.

read · sources · stored · feed · statistics · synthesize · views
"""

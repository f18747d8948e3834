"""What is looked at: image files, the views that training makes of them, and made-up images.

read · statistics · synthesize · views
"""

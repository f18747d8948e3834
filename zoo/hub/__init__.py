"""The Hugging Face Hub, or any server that speaks as it does.

address (``org/name@revision``) · settings (what the environment says) · client (the one place that talks to it) ·
compat (work-arounds) · fetch (a package into the cache) · pull (to have one) · push (to publish one)
"""

"""The Hugging Face Hub, or any server that speaks as it does.

address (``org/name@revision``) · settings (what the environment says) · client (the one place that talks to it) ·
fetch (a package from there) · publish (one to there) · listing (what an organization has) · cached (what was fetched)
"""

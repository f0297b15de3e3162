"""The arena: the embedded world, its characters, and how well a policy plays one of them."""

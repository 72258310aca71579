"""The cases of the plan, shipped as pytest files so that any site can run them."""

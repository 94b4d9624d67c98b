"""The stack on Kubernetes: plain manifests, of which `python -m deploy.generate` makes those that follow from code."""

"""What the fault suite strikes with: a wire that can be cut, runners in processes of their own, and a picture of what a
clean run leaves behind."""

from __future__ import annotations

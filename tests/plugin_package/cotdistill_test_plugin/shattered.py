"""A broken plug-in: it must be listed as broken and raise only when chosen."""

raise RuntimeError("this plug-in is broken on purpose")

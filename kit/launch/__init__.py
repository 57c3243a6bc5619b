"""Starting the work: this machine, and what runs it elsewhere."""

"""Files from elsewhere are read in a process of their own, with bounds on its time and memory, before they are used."""

"""What is on disk: records and their strict readers, data sets, importers, the run card."""

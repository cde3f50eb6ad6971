"""Job files: recognise a format, cut a file into chunks, read a record, write its outcome."""

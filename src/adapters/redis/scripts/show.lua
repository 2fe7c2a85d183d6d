-- The room as it stands. Only reads.
return picture()

-- The indices below what is expected that are not stored. Only reads.
return it.state and missing_below(expected()) or {}

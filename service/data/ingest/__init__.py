"""An uploaded file to typed columns in Parquet."""

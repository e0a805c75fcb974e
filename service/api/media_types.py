"""Names of what bodies hold, beside JSON."""

CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"

"""What README and docs say: commands that exist, two languages in step, pages that are current."""

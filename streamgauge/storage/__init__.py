"""Everything that speaks SQL, migrations apart."""

-- Whose a run is: the account that began it over HTTP; null for what the observatory itself runs, or the command line.
ALTER TABLE runs ADD COLUMN owner TEXT;

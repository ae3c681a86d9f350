DROP VIEW quota_balances;
DROP TABLE quota_postings;
DROP TABLE schedule_sequences;
DROP TABLE schedules;
DROP TABLE plans;
DROP TABLE albums;
DROP TABLE sequences;
DROP TABLE requests;

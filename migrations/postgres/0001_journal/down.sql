DROP TABLE boots;
DROP TABLE journal;

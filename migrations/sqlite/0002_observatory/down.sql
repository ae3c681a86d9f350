DROP TABLE devices;
DROP TABLE instruments;
DROP TABLE telescopes;
DROP TABLE users;

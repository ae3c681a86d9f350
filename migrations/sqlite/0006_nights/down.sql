DROP TABLE logs;
DROP TABLE weather_samples;
DROP TABLE nights;

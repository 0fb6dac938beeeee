"""MQTT: this Pi at a broker, Home Assistant, and the fleet."""

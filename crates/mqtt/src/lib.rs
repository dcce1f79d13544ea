//! tercet-mqtt

//! Photo captions on the user's own device.

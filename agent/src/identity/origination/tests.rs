//! What files make of a rule's settings.

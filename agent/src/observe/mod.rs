//! One record per connection, and what becomes of it.

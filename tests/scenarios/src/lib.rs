//! Given/When/Then scenarios in process on the virtual clock.

//! The scenarios. Each is one situation a team meets, told as given, when, then.

mod bad_input;
mod examples;
mod gauntlet;
mod leaders;
mod story;
mod trouble;

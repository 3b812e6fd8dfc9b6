//! The three reconcilers against a real API server, Git server and registry, all in memory and on a
//! virtual clock. Every interval is an hour and every wait far less, so what happens follows events.

mod story;
mod troubles;
mod world;

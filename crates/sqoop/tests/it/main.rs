//! Calls of Sqoop and their page.
//!
//! One program for all of them, so that they are linked once.

mod calls;
mod page;

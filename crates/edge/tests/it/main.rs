//! The edge as a program.
//!
//! One program for all of them, so that they are linked once.

mod elsewhere;
mod health;

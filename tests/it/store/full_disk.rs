//! Full disk

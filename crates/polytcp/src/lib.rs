//! polytcp

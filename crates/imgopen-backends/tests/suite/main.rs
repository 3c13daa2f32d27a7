//! The form of requests, and the page with the table of fields.

mod document;
mod generation;
mod jobs;

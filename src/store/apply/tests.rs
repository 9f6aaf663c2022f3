//! What changes make of documents.

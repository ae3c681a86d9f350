//! majordome

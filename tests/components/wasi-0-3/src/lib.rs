//! Nothing: the components are in `examples/`.

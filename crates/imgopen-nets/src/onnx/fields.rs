//! The numbers of the fields of ONNX's messages, from `onnx.proto3`, and of its element types.

/// `ModelProto`
pub(crate) mod model {
    pub const IR_VERSION: u64 = 1;
    pub const PRODUCER_NAME: u64 = 2;
    pub const GRAPH: u64 = 7;
    pub const OPSET_IMPORT: u64 = 8;
    pub const METADATA: u64 = 14;
}

/// `OperatorSetIdProto`
pub(crate) mod opset {
    pub const DOMAIN: u64 = 1;
    pub const VERSION: u64 = 2;
}

/// `GraphProto`
pub(crate) mod graph {
    pub const NODE: u64 = 1;
    pub const NAME: u64 = 2;
    pub const INITIALIZER: u64 = 5;
    pub const INPUT: u64 = 11;
    pub const OUTPUT: u64 = 12;
    pub const VALUE_INFO: u64 = 13;
}

/// `NodeProto`
pub(crate) mod node {
    pub const INPUT: u64 = 1;
    pub const OUTPUT: u64 = 2;
    pub const OP_TYPE: u64 = 4;
    pub const ATTRIBUTE: u64 = 5;
    pub const DOMAIN: u64 = 7;
}

/// `AttributeProto`
pub(crate) mod attribute {
    pub const NAME: u64 = 1;
    pub const F: u64 = 2;
    pub const I: u64 = 3;
    pub const S: u64 = 4;
    pub const T: u64 = 5;
    pub const G: u64 = 6;
    pub const FLOATS: u64 = 7;
    pub const INTS: u64 = 8;
    pub const TYPE: u64 = 20;

    /// The kinds of attribute, in `TYPE`.
    pub const IS_FLOAT: i64 = 1;
    pub const IS_INT: i64 = 2;
    pub const IS_STRING: i64 = 3;
    pub const IS_INTS: i64 = 7;
}

/// `TensorProto`
pub(crate) mod tensor {
    pub const DIMS: u64 = 1;
    pub const DATA_TYPE: u64 = 2;
    pub const FLOAT_DATA: u64 = 4;
    pub const INT32_DATA: u64 = 5;
    pub const STRING_DATA: u64 = 6;
    pub const INT64_DATA: u64 = 7;
    pub const NAME: u64 = 8;
    pub const RAW_DATA: u64 = 9;
    pub const DOUBLE_DATA: u64 = 10;
    pub const UINT64_DATA: u64 = 11;
    pub const EXTERNAL_DATA: u64 = 13;
    pub const DATA_LOCATION: u64 = 14;
}

/// `ValueInfoProto`
pub(crate) mod value {
    pub const NAME: u64 = 1;
    pub const TYPE: u64 = 2;
}

/// `TypeProto`
pub(crate) mod kind {
    pub const TENSOR: u64 = 1;
    pub const SEQUENCE: u64 = 4;
    pub const MAP: u64 = 5;
    pub const OPTIONAL: u64 = 9;
}

/// `TypeProto.Tensor`
pub(crate) mod tensor_kind {
    pub const ELEMENT: u64 = 1;
    pub const SHAPE: u64 = 2;
}

/// `TensorShapeProto` and its `Dimension`
pub(crate) mod shape {
    pub const DIM: u64 = 1;
    pub const VALUE: u64 = 1;
    pub const PARAM: u64 = 2;
}

/// The element types, as `TensorProto.DataType` numbers them.
pub(crate) mod element {
    pub const FLOAT: i64 = 1;
    pub const UINT8: i64 = 2;
    pub const INT8: i64 = 3;
    pub const INT32: i64 = 6;
    pub const INT64: i64 = 7;
    pub const BOOL: i64 = 9;
    pub const FLOAT16: i64 = 10;
    pub const DOUBLE: i64 = 11;
}

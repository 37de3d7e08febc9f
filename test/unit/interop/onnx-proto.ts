import protobuf from "protobufjs";

/** The part of onnx.proto (onnx 1.12, IR version 8) that models without functions, sparse tensors and sequences use. */
const definition = `
syntax = "proto2";
package onnx;
message ModelProto {
  optional int64 ir_version = 1;
  optional string producer_name = 2;
  optional string producer_version = 3;
  optional string domain = 4;
  optional int64 model_version = 5;
  optional string doc_string = 6;
  optional GraphProto graph = 7;
  repeated OperatorSetIdProto opset_import = 8;
  repeated StringStringEntryProto metadata_props = 14;
}
message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
message StringStringEntryProto { optional string key = 1; optional string value = 2; }
message GraphProto {
  repeated NodeProto node = 1;
  optional string name = 2;
  repeated TensorProto initializer = 5;
  optional string doc_string = 10;
  repeated ValueInfoProto input = 11;
  repeated ValueInfoProto output = 12;
  repeated ValueInfoProto value_info = 13;
}
message NodeProto {
  repeated string input = 1;
  repeated string output = 2;
  optional string name = 3;
  optional string op_type = 4;
  repeated AttributeProto attribute = 5;
  optional string doc_string = 6;
  optional string domain = 7;
}
message AttributeProto {
  enum AttributeType { UNDEFINED = 0; FLOAT = 1; INT = 2; STRING = 3; TENSOR = 4; GRAPH = 5; FLOATS = 6; INTS = 7; STRINGS = 8; }
  optional string name = 1;
  optional float f = 2;
  optional int64 i = 3;
  optional bytes s = 4;
  optional TensorProto t = 5;
  optional GraphProto g = 6;
  repeated float floats = 7;
  repeated int64 ints = 8;
  repeated bytes strings = 9;
  optional AttributeType type = 20;
}
message TensorProto {
  enum DataLocation { DEFAULT = 0; EXTERNAL = 1; }
  repeated int64 dims = 1;
  optional int32 data_type = 2;
  repeated float float_data = 4;
  repeated int64 int64_data = 7;
  optional string name = 8;
  optional bytes raw_data = 9;
  optional string doc_string = 12;
  repeated StringStringEntryProto external_data = 13;
  optional DataLocation data_location = 14;
}
message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
message TypeProto {
  message Tensor { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; }
  optional Tensor tensor_type = 1;
}
message TensorShapeProto {
  message Dimension { optional int64 dim_value = 1; optional string dim_param = 2; }
  repeated Dimension dim = 1;
}
`;

const modelType = protobuf.parse(definition, { keepCase: true }).root.lookupType("onnx.ModelProto");

export interface ParsedTensor {
  readonly dims?: readonly number[];
  readonly data_type: number;
  readonly name: string;
  readonly raw_data?: Uint8Array;
  readonly external_data?: readonly { readonly key: string; readonly value: string }[];
  readonly data_location?: string;
}

interface ParsedValue {
  readonly name: string;
  readonly type: {
    readonly tensor_type: {
      readonly elem_type: number;
      readonly shape: {
        readonly dim: readonly { readonly dim_value?: number; readonly dim_param?: string }[];
      };
    };
  };
}

export interface ParsedModel {
  readonly ir_version: number;
  readonly producer_name: string;
  readonly producer_version: string;
  readonly opset_import: readonly { readonly domain?: string; readonly version: number }[];
  readonly metadata_props?: readonly { readonly key: string; readonly value: string }[];
  readonly graph: {
    readonly name: string;
    readonly node: readonly {
      readonly input?: readonly string[];
      readonly output: readonly string[];
      readonly name: string;
      readonly op_type: string;
      readonly attribute?: readonly Readonly<Record<string, unknown>>[];
    }[];
    readonly initializer: readonly ParsedTensor[];
    readonly input: readonly ParsedValue[];
    readonly output: readonly ParsedValue[];
  };
}

/** A model by protobufjs and the definition above, which share nothing with our writer and reader. */
export function parseOnnx(bytes: Uint8Array): ParsedModel {
  const message = modelType.decode(bytes);
  const problem = modelType.verify(message);
  if (problem !== null) throw new Error(problem);
  // The generic form that fields with unknown numbers would be missing in: encoding it again must lose nothing.
  const length = modelType.encode(message).finish().length;
  if (length !== bytes.length) throw new Error(`${bytes.length} bytes, ${length} of which are known fields`);
  return modelType.toObject(message, { longs: Number, enums: String }) as unknown as ParsedModel;
}

export function shapeOf({ type }: ParsedValue): (number | string)[] {
  return type.tensor_type.shape.dim.map(({ dim_value, dim_param }) => dim_value ?? dim_param!);
}

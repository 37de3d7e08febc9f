#pragma once
// The part of cuBLASLt's C interface that is used here, declared by ourselves: the library is opened at run
// time and no header of its toolkit is needed to build. Names are the library's without their prefix. The
// numbers have been the same from CUDA 11.4 on; they were compared with public bindings made from the headers
// of 11.4 to 12.8.
//
// Matrices are column-major: element (i, j) of a layout {rows, cols, ld} lies at i + j · ld.

#include <cstddef>
#include <cstdint>

namespace electra::cublaslt {

using Handle = void*;
using MatmulDesc = void*;
using MatrixLayout = void*;
using MatmulPreference = void*;
using Stream = void*;  // cudaStream_t

enum Status : int32_t {
  kSuccess = 0,
  kNotInitialized = 1,
  kAllocFailed = 3,
  kInvalidValue = 7,
  kArchMismatch = 8,
  kExecutionFailed = 13,
  kInternalError = 14,
  kNotSupported = 15,
};

/// cudaDataType
enum DataType : int32_t { kR32F = 0, kR16BF = 14 };
/// cublasComputeType_t: f32 throughout, without TF32
enum ComputeType : int32_t { kCompute32F = 68 };
/// cublasOperation_t
enum Operation : int32_t { kOpN = 0, kOpT = 1 };

enum MatmulDescAttribute : int32_t {
  kDescTransA = 3,               // int32_t
  kDescTransB = 4,               // int32_t
  kDescEpilogue = 7,             // uint32_t
  kDescBiasPointer = 8,          // void*
  kDescEpilogueAuxPointer = 11,  // void*
  kDescEpilogueAuxLd = 12,       // int64_t; for GELU a multiple of 8, at least the rows of D
};

/// D (m x n) = epilogue(op(A) · op(B) + beta · C). Biases and bias gradients have one element for each row of
/// D, of D's type.
enum EpilogueKind : uint32_t {
  kEpilogueDefault = 1,
  kEpilogueBias = 4,
  kEpilogueGeluAux = 160,  // tanh-GELU, its argument kept in aux
  kEpilogueGeluAuxBias = 164,
  kEpilogueDGelu = 192,       // times the slope of tanh-GELU at aux
  kEpilogueDGeluBGrad = 208,  // and the sums of D's rows
  kEpilogueBGradA = 256,      // beside the product, the sums of A's rows over k; op(A) must be A
};

enum MatmulPreferenceAttribute : int32_t {
  kPreferenceMaxWorkspaceBytes = 1,    // uint64_t
  kPreferenceReductionSchemeMask = 3,  // uint32_t
  kPreferenceMinAlignmentABytes = 5,   // uint32_t, also the next three
  kPreferenceMinAlignmentBBytes = 6,
  kPreferenceMinAlignmentCBytes = 7,
  kPreferenceMinAlignmentDBytes = 8,
};

/// What may become of k when it is cut. In place: partial results meet in D, in an order that is not fixed by
/// everyone's account. In the compute type: they lie in workspace and are added by a kernel of their own.
enum ReductionScheme : uint32_t {
  kReductionInPlace = 1,
  kReductionComputeType = 2,
  kReductionOutputType = 4
};

struct MatmulAlgo {
  uint64_t data[8];
};
struct MatmulHeuristicResult {
  MatmulAlgo algo;
  size_t workspace_size;
  int32_t state;  // Status; kSuccess or the rest means nothing
  float waves_count;
  int32_t reserved[4];
};
static_assert(sizeof(MatmulAlgo) == 64 && sizeof(MatmulHeuristicResult) == 96, "the library's layout");

/// The functions by their names without `cublasLt`.
#define ELECTRA_CUBLASLT_FUNCTIONS(X)                                                                        \
  X(Create, Status, (Handle * handle))                                                                       \
  X(Destroy, Status, (Handle handle))                                                                        \
  X(GetVersion, size_t, ())                                                                                  \
  X(GetStatusName, const char*, (Status status))                                                             \
  X(MatmulDescCreate, Status, (MatmulDesc * desc, ComputeType compute, DataType scale))                      \
  X(MatmulDescDestroy, Status, (MatmulDesc desc))                                                            \
  X(MatmulDescSetAttribute, Status,                                                                          \
    (MatmulDesc desc, MatmulDescAttribute attribute, const void* value, size_t bytes))                       \
  X(MatrixLayoutCreate, Status,                                                                              \
    (MatrixLayout * layout, DataType type, uint64_t rows, uint64_t cols, int64_t ld))                        \
  X(MatrixLayoutDestroy, Status, (MatrixLayout layout))                                                      \
  X(MatmulPreferenceCreate, Status, (MatmulPreference * preference))                                         \
  X(MatmulPreferenceDestroy, Status, (MatmulPreference preference))                                          \
  X(MatmulPreferenceSetAttribute, Status,                                                                    \
    (MatmulPreference preference, MatmulPreferenceAttribute attribute, const void* value, size_t bytes))     \
  X(MatmulAlgoGetHeuristic, Status,                                                                          \
    (Handle handle, MatmulDesc desc, MatrixLayout a, MatrixLayout b, MatrixLayout c, MatrixLayout d,         \
     MatmulPreference preference, int requested, MatmulHeuristicResult* results, int* returned))             \
  X(Matmul, Status,                                                                                          \
    (Handle handle, MatmulDesc desc, const void* alpha, const void* a, MatrixLayout a_layout, const void* b, \
     MatrixLayout b_layout, const void* beta, const void* c, MatrixLayout c_layout, void* d,                 \
     MatrixLayout d_layout, const MatmulAlgo* algo, void* workspace, size_t workspace_bytes, Stream stream))

struct Api {
#define ELECTRA_CUBLASLT_POINTER(name, result, parameters) result(*name) parameters = nullptr;
  ELECTRA_CUBLASLT_FUNCTIONS(ELECTRA_CUBLASLT_POINTER)
#undef ELECTRA_CUBLASLT_POINTER
};

// What the stand-in of the tests has besides (test/emulator/cublaslt_stand_in.cc): under the emulator a
// library's work must take its place in the stream, so the Gemm hands over how.
struct StandInHost {
  /// Calls work(argument) when the stream comes to it, once for each replay of a recording; then, some day,
  /// release(argument).
  void (*enqueue)(Stream stream, void (*work)(void*), void* argument, void (*release)(void*));
  /// Whether all of it lies in one allocation of device memory.
  bool (*is_device_memory)(const void* memory, size_t bytes);
};
using StandInAttach = void (*)(const StandInHost* host);
constexpr const char* kStandInAttach = "electra_stand_in_attach";

}  // namespace electra::cublaslt

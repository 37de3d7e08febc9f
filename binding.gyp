# The CPU-only build for machines without CMake. CMakeLists.txt is the full one; both read native/sources.json.
{
  "variables": {
    "electra_flags": ["-O3", "-std=c++17", "-fexceptions", "-frtti", "-fno-math-errno", "-fno-trapping-math",
                      "-fvisibility=hidden", "-fPIC", "-Wno-psabi"],
  },
  "target_defaults": {
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc": ["<@(electra_flags)"],
    "xcode_settings": {
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_ENABLE_CPP_RTTI": "YES",
      "CLANG_CXX_LANGUAGE_STANDARD": "c++17",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
    },
  },
  "targets": [
    {
      "target_name": "electra_kernels_baseline",
      "type": "static_library",
      "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
      "defines": ["ELECTRA_ISA=baseline"],
    },
    {
      "target_name": "electra_native",
      "sources": ["<!@(node scripts/native-sources.cjs addon cpu model)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_CPP_EXCEPTIONS",
        "ELECTRA_CONTRACT_HASH=<!(node scripts/contract-hash.cjs)",
        "ELECTRA_VERSION=\"<!(node -p \"require('./package.json').version\")\"",
      ],
      "dependencies": ["electra_kernels_baseline"],
      "conditions": [
        ["target_arch=='x64'", {"dependencies": ["electra_kernels_avx2", "electra_kernels_avx512"]}],
        ["OS=='linux'", {
          "libraries": ["-ldl", "-lpthread"],
          "ldflags": ["-Wl,-Bsymbolic", "-Wl,--exclude-libs,ALL"],
        }],
      ],
    },
  ],
  "conditions": [
    ["target_arch=='x64'", {
      "targets": [
        {
          "target_name": "electra_kernels_avx2",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "defines": ["ELECTRA_ISA=avx2"],
          "cflags_cc": ["-mavx2", "-mfma", "-mbmi2", "-mf16c"],
        },
        {
          "target_name": "electra_kernels_avx512",
          "type": "static_library",
          "sources": ["<!@(node scripts/native-sources.cjs kernels)"],
          "defines": ["ELECTRA_ISA=avx512"],
          "cflags_cc": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx2", "-mfma", "-mbmi2", "-mf16c",
                        "-mprefer-vector-width=512"],
        },
      ],
    }],
  ],
}

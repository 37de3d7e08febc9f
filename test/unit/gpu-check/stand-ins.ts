import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Programs that answer as those on a machine with a GPU do, as shell scripts: the card's tools, our test programs, Node and
 * PyTorch. Variables make them misbehave:
 * - `CRASH`, `HANG`: a text that a call of the operator tests must contain to crash or to never end
 * - `CUBLASLT_SAYS`: what the products' tests say multiplies
 * - `SANITIZER_ERRORS`: what compute-sanitizer counts
 * - `SLOW_PEER`: milliseconds of PyTorch's step
 */
export function writeStandIns(folder: string, python: string): void {
  const tools = join(folder, "tools");
  const programs = join(folder, "programs");
  mkdirSync(tools);
  mkdirSync(programs);
  const program = (path: string, body: string): void => {
    writeFileSync(path, `#!/bin/sh\n${body}`);
    chmodSync(path, 0o755);
  };

  program(join(tools, "nvidia-smi"), 'echo "NVIDIA H100 80GB HBM3, 580.1, 81559 MiB, 9.0"\n');
  program(join(tools, "nvcc"), 'echo "Cuda compilation tools, release 13.0, V13.0.88"\n');
  program(
    join(tools, "compute-sanitizer"),
    `while [ "$1" != --print-limit ]; do shift; done; shift 2
     "$@"
     echo "========= ERROR SUMMARY: \${SANITIZER_ERRORS:-0} errors"
     [ "\${SANITIZER_ERRORS:-0}" = 0 ] || exit 86\n`,
  );

  const tests = `case "$*" in *"\${CRASH:-no crash}"*) echo "about to crash"; kill -SEGV $$;; esac
     case "$*" in *"\${HANG:-no hang}"*) echo "$$" >"$HANG_FILE"; exec sleep 300;; esac
     echo "device: NVIDIA H100 80GB HBM3, cuBLASLt 13.1, bf16"
     case "$1" in
     bench)
       echo "linear                     real shape                         | bf16     0.500 ms 200000.0 GFLOP/s 600.00 GB/s"
       echo "optimizer                  14 M parameters                    | bf16     0.200 ms 2000.00 GB/s"
       echo "rows                       tiny                               | bf16     0.003 ms   1.00 GB/s";;
     *)
       echo "PASS linear                       3 passed, 0 failed, largest error 0.52 of the tolerance";;
     esac
     echo "3 passed, 0 failed"\n`;
  for (const name of ["electra_cuda_tests", "electra_cuda_model_tests"]) program(join(programs, name), tests);
  program(
    join(programs, "electra_cuda_gemm_tests"),
    `if [ "$ELECTRA_CUBLASLT" = built-in ]; then echo "built-in: asked for"; else echo "\${CUBLASLT_SAYS:-cuBLASLt 13.1}"; fi
     echo "9 passed, 0 failed"\n`,
  );

  const agreement = {
    injected: {
      steps: 50,
      worst: { generator: 1e-6, discriminator: 2e-6, norm: 1e-5, step: 3 },
      weights: { rmsChange: 0.01, rmsDifference: 1e-6, movement: 0.25, disagreement: 1e-4 },
    },
    free: { slots: 200, flips: [{ gap: 2e-5 }], largestGap: 2e-5 },
  };
  program(
    join(tools, "node"),
    `case "$*" in
     *--version*) echo v22.0.0;;
     *compare-devices*)
       for last; do :; done
       echo '${JSON.stringify(agreement)}' >"$last"; echo "2 passed, 0 failed";;
     *test-golden*) echo "PASS pretrain/electra"; echo "14 passed, 0 failed, 0 not landed";;
     *"bench step"*) echo '{ "sec_per_step": 0.0045, "engine_mb": 2000, "info": {} }';;
     esac\n`,
  );

  program(
    join(tools, "python-with-torch"),
    `case "$*" in
     *torch_roofs*)
       echo '{"copy_gb_s": 3000, "bf16_tflops": 800, "f32_tflops": 50, "shapes": [{"name": "up", "m": 1, "n": 2, "k": 3, "tflops": 500}]}';;
     *torch_pretrain*)
       echo '{"event": "ready", "seconds": 1, "graph": true, "note": null}'
       while read -r word steps; do
         echo "{\\"event\\": \\"run\\", \\"ms\\": \${SLOW_PEER:-9}, \\"calibration_tflops\\": 700}"
       done;;
     *find_spec*) ;;
     *) exec "${python}" "$@";;
     esac\n`,
  );

  // A package that was carried along.
  const dist = join(folder, "work", "package", "dist", "cli");
  mkdirSync(dist, { recursive: true });
  writeFileSync(join(dist, "main.js"), "");
}

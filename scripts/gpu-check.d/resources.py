"""What a check has to work with: the card, the kit that was carried along, Node, the package, the test programs. Whatever
is missing is said, and only the checks that need it are left out."""

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import tarfile

from runner import Command, run

PROGRAMS = ("tests", "model_tests", "gemm_tests")
# What the prebuilt programs are made of: another hash, and they are built anew.
SOURCES = ("CMakeLists.txt", "cuda", "native", "test/native", "test/emulator")
# What dist is made of.
SHELL = ("package.json", "src")


def sources_hash(root, tops=SOURCES):
    """The same as hashOfPaths in make-kit.mjs: over names and contents, in the order of the names' bytes."""
    files = []
    for top in tops:
        path = os.path.join(root, top)
        if os.path.isfile(path):
            files.append(top)
        for folder, _, names in os.walk(path):
            files += [os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/") for name in names]
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda name: name.encode()):
        with open(os.path.join(root, file), "rb") as content:
            digest.update(f"{file}\0{hashlib.sha256(content.read()).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def answer(arguments, timeout=15, folder=None):
    """What a program prints, or None if it fails."""
    result = run(Command(arguments[0], arguments, timeout, folder=folder))
    return result.output.strip() if result.ok else None


def find_card(device):
    """Name, driver, memory and compute capability of a GPU, or (None, reason)."""
    index = device.partition(":")[2] or "0"
    query = "name,driver_version,memory.total,compute_cap"
    result = run(
        Command("nvidia-smi", ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader", "-i", index], 30)
    )
    if result.code is None:
        return None, "nvidia-smi could not be started: is this a machine with an NVIDIA GPU and its driver?"
    fields = [field.strip() for field in result.output.strip().split("\n")[0].split(",")]
    if not result.ok or len(fields) != 4:
        return None, f"nvidia-smi sees no GPU {index}: {result.tail(2) or result.ending}"
    return dict(zip(("name", "driver", "memory", "capability"), fields)), None


def find_cublaslt():
    """The cuBLASLt that PyTorch brings along, or the system's; None if there is neither."""
    try:
        spec = importlib.util.find_spec("nvidia")
        places = list(spec.submodule_search_locations or []) if spec else []
    except (ImportError, ValueError):
        places = []
    folders = [os.path.join(place, part) for place in places for part in ("cu13/lib", "cublas/lib", "cu12/lib")]
    folders += ["/usr/local/cuda/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"]
    for folder in folders:
        try:
            names = sorted(name for name in os.listdir(folder) if name.startswith("libcublasLt.so."))
        except OSError:
            continue
        # libcublasLt.so.13 rather than a link without a number or one file among several versions of it.
        if names:
            return os.path.join(folder, min(names, key=len))
    return None


class Resources:
    """Found at the start; `prepare` adds the programs. Reasons for what is missing stand in `missing`."""

    def __init__(self, root, work, kit, device):
        self.root, self.work, self.device = root, work, device
        self.emulated = device == "emulated"
        self.logs = os.path.join(work, "logs")
        os.makedirs(self.logs, exist_ok=True)
        self.card = None
        self.card_reason = None
        if self.emulated:
            self.card = {"name": "emulated", "driver": "none", "memory": "0 MiB", "capability": "none"}
        else:
            self.card, self.card_reason = find_card(device)
        self.sources = sources_hash(root)
        self.kit_folder = kit if kit and os.path.isfile(os.path.join(kit, "kit.json")) else None
        self.kit = {}
        if self.kit_folder:
            with open(os.path.join(self.kit_folder, "kit.json"), encoding="utf-8") as file:
                self.kit = json.load(file)
        self.python = os.environ.get("PYTHON", sys.executable)
        self.cublaslt = os.environ.get("ELECTRA_CUBLASLT") or self._usual_cublaslt()
        self.node = None
        self.package = None  # the folder that holds dist
        self.programs = {}
        self.missing = {}
        self.notes = []

    def _usual_cublaslt(self):
        if not self.emulated:
            return find_cublaslt()
        stand_in = os.path.join(self.root, "build", "emulated", "libcublasLt_stand_in.so")
        return stand_in if os.path.isfile(stand_in) else None

    # ------------------------------------------------------------------------------------------------------------------

    def environment(self, **more):
        """For our programs: where cuBLASLt is, where the package is, which device the golden checks take."""
        result = dict(more)
        if self.cublaslt and "ELECTRA_CUBLASLT" not in result:
            result["ELECTRA_CUBLASLT"] = self.cublaslt
        if self.package:
            result["ELECTRA_DIST"] = os.path.join(self.package, "dist")
        if self.emulated and "ELECTRA_CUDA_EMULATED_LIBRARY" not in os.environ:
            # Tests alone use it, so no package carries it.
            library = os.path.join(self.root, "build", "emulated", "electra_cuda_emulated.so")
            result["ELECTRA_CUDA_EMULATED_LIBRARY"] = library
        library = os.path.join(self.work, "dnnl")
        if os.path.isdir(library):
            old = os.environ.get("LD_LIBRARY_PATH")
            result["LD_LIBRARY_PATH"] = library + (f":{old}" if old else "")
        return result

    def cli(self, *arguments):
        return [self.node, os.path.join(self.package, "scripts", "electra-native.mjs"), *arguments]

    def describe(self):
        """The report's header."""
        commit = answer(["git", "rev-parse", "--short=12", "HEAD"], folder=self.root) if shutil.which("git") else None
        changed = answer(["git", "status", "--porcelain", "--untracked-files=no"], folder=self.root) if commit else None
        if commit is None and self.kit:
            commit = self.kit.get("commit")
            # Without git, the kit's hash tells whether the sources are still those of its commit.
            changed = self.kit.get("dirty") or ("sources differ" if self.kit.get("sources") != self.sources else None)
        nvcc = answer(["nvcc", "--version"]) if shutil.which("nvcc") else None
        release = next((line for line in (nvcc or "").splitlines() if "release" in line), "not found")
        return {
            "card": self.card["name"],
            "driver": self.card["driver"],
            "memory": self.card["memory"],
            "compute capability": self.card["capability"],
            "nvcc": release.strip(),
            "cuBLASLt": os.path.basename(self.cublaslt) if self.cublaslt else "not found",
            "processor": f"{platform.machine()}, {os.cpu_count()} threads",
            "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
            "commit": (commit or "unknown") + (" (changed)" if changed else ""),
            "sources": self.sources,
            "kit": f"of {self.kit['commit']}, {self.kit['created']}" if self.kit else "none",
        }

    # ------------------------------------------------------------------------------------------------------------------

    def unpack_kit(self):
        """Unpacks what is there; an archive that is broken counts as missing. Nothing of an earlier kit stays."""
        for name in ("package", "native", "node", "headers", "dnnl") if self.kit else ():
            shutil.rmtree(os.path.join(self.work, name), ignore_errors=True)
        for entry in self.kit.get("archives", ()):
            path = os.path.join(self.kit_folder, entry["file"])
            try:
                with tarfile.open(path) as archive:
                    # Refuses names that lead outside, where this Python can.
                    safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
                    archive.extractall(self.work, **safe)
            except (OSError, tarfile.TarError, EOFError, ImportError) as error:
                self.notes.append(f"{entry['file']} could not be unpacked: {error}")

    def find_node(self):
        carried = os.path.join(self.work, "node", "node")
        for candidate in (carried, shutil.which("node")):
            if candidate is None or not os.path.isfile(candidate):
                continue
            version = answer([candidate, "--version"])
            if version is not None:
                self.node = candidate
                self.notes.append(f"Node {version}")
                break
        else:
            self.missing["node"] = "no Node here and none in a kit (scripts/gpu-check-kit makes one)"
            return
        carried_package = os.path.join(self.work, "package")
        for candidate in (carried_package, self.root):
            if os.path.isfile(os.path.join(candidate, "dist", "cli", "main.js")):
                self.package = candidate
                if candidate != self.root and self.kit and self.kit.get("shell") != sources_hash(self.root, SHELL):
                    self.notes.append("dist in the kit was compiled from another src than this")
                break
        else:
            self.missing["package"] = "no dist here and none in a kit"

    def check_addon(self, build):
        """Loads the addon; builds it here where the carried one does not fit. `build`: whether that is allowed."""
        addon = os.path.join(self.package, "build", "Release", "electra_native.node")
        attempt = [self.node, "-e", f"require({json.dumps(addon)})"]
        result = run(Command("addon", attempt, 30))
        # An addon of other sources would load and then refuse the library, or worse, not refuse it.
        is_stale = self.package != self.root and bool(self.kit) and self.kit.get("sources") != self.sources
        if (is_stale or not result.ok) and build and self.package != self.root:
            why = "is of other sources" if result.ok else f"does not load ({result.tail(1)})"
            self.notes.append(f"the addon {why}; building it here")
            os.makedirs(os.path.dirname(addon), exist_ok=True)
            built = self.build(["electra_native"], 240)
            if built:
                shutil.copyfile(os.path.join(self.work, "build", "electra_native.node"), addon)
                result = run(Command("addon", attempt, 30))
            elif is_stale:
                self.missing["addon"] = f"the addon is of other sources, and building failed: {self.notes[-1]}"
        if not result.ok:
            self.missing["addon"] = f"the addon does not load: {result.tail(3)}"

    # ------------------------------------------------------------------------------------------------------------------

    def program_names(self):
        kind = "emulated" if self.emulated else "cuda"
        gemm = "electra_gemm_tests" if self.emulated else "electra_cuda_gemm_tests"
        return {"tests": f"electra_{kind}_tests", "model_tests": f"electra_{kind}_model_tests", "gemm_tests": gemm}

    def find_programs(self, folders):
        """Looks for the test programs; the first folder that has the operator tests must have them all."""
        names = self.program_names()
        for folder in folders:
            found = {kind: os.path.join(folder, name) for kind, name in names.items()}
            if os.path.isfile(found["tests"]):
                self.programs = {kind: path for kind, path in found.items() if os.path.isfile(path)}
                return True
        return False

    def program_starts(self):
        """Whether the operator tests run at all; a filter that no case has makes that quick. (ok, what it said)"""
        result = run(Command("start", [self.programs["tests"], "test", "no such case"], 60, self.environment()))
        return result.ok, result

    def is_misfit(self, result):
        """Whether programs failed to start because they were made for another system or card."""
        other_system = r"GLIBC|shared object|shared libraries|[Ee]xec format|no kernel image|not find symbol"
        made_for = self.kit.get("architectures", "").split(",")
        other_card = bool(self.kit) and self.card["capability"].replace(".", "") not in made_for
        return other_card or result.code in (None, 126, 127) or re.search(other_system, result.output) is not None

    def build(self, targets, timeout):
        """Builds targets, those that there are, with CMake for this very card, on all cores; True if all went well."""
        folder = os.path.join(self.work, "build")
        capability = self.card["capability"].replace(".", "")
        include = [os.path.join(self.work, "headers", name) for name in ("node", "node-addon-api")]
        configure = ["cmake", "-S", self.root, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", "-DELECTRA_TESTS=ON"]
        configure += ["-DELECTRA_CUDA=ON", f"-DCMAKE_CUDA_ARCHITECTURES={capability}-real"]
        configure += [f"-DCMAKE_JS_INC={';'.join(include)}"] if os.path.isdir(include[0]) else ["-DELECTRA_ADDON=OFF"]
        jobs = str(os.cpu_count() or 2)
        with open(os.path.join(self.logs, "build.log"), "a", encoding="utf-8") as log:
            steps = [configure, ["cmake", "--build", folder, "--target", "help"]]
            for arguments in steps:
                result = run(Command("cmake", arguments, timeout), log)
                if not result.ok:
                    self.notes.append(f"configuring failed ({result.ending}): {result.tail(3)}")
                    return False
            # `help` lists targets as make (`... name`) or ninja (`name: phony`) write them.
            known = set(re.findall(r"^(?:\.\.\. )?([\w.-]+)", result.output, re.MULTILINE))
            wanted = [target for target in targets if target in known]
            compile_all = ["cmake", "--build", folder, "--parallel", jobs, "--target", *wanted]
            result = run(Command("cmake", compile_all, timeout), log)
            if not result.ok:
                self.notes.append(f"building {', '.join(wanted)} failed ({result.ending}): {result.tail(3)}")
        return result.ok

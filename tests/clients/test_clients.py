"""Programs that use a pool or executor through a library, with ours in its place.

Each is a script, run once with the standard classes and with ours, and has to print the same. A
usual run has the libraries that are in the `test` extra, and one start method. The others take
long to install, or to run: ``nox -s clients`` installs them all, and runs all on each method.
"""

import importlib
import os
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from tests.backends import START_METHODS
from tests.scripts import finished

ALL: Final = bool(os.environ.get("PMAP_ALL_CLIENTS"))
METHODS: Final = START_METHODS if ALL else ("forkserver",)
# What a script has: `Pool`, `ThreadPool`, `Executor`, `verb`; and `install`, which puts one of them
# into a module that makes its pool itself, in the place of what is called `name` there.
STANDARD: Final = """\
import concurrent.futures, multiprocessing, multiprocessing.pool
Pool, ThreadPool, verb = multiprocessing.Pool, multiprocessing.pool.ThreadPool, map
Plain = Executor = concurrent.futures.ProcessPoolExecutor
def install(module, name="Pool", what=None):
    pass
"""
OURS: Final = """\
import concurrent.futures, multiprocessing
import pmap
from pmap import ThreadPool
method, used = {method!r}, []
verb = pmap.pmap.using(processes=2, start_method=method)
class Pool(pmap.Pool):
    def __init__(self, *args, **kwargs):
        used.append(self)
        super().__init__(*args, context=multiprocessing.get_context(method), **kwargs)
class Executor(pmap.Executor):
    def __init__(self, *args, **kwargs):
        used.append(self)
        super().__init__(*args, start_method=method, **kwargs)
Plain = pmap.Executor
def install(module, name="Pool", what=Pool):
    assert hasattr(module, name)
    setattr(module, name, what)
"""

# Makes the files a.py, b.py and c.py; what it returns reads them again.
FILES: Final = """\
def three_files(text):
    import os, pathlib, tempfile
    os.chdir(tempfile.mkdtemp())
    for name in "abc":
        pathlib.Path(name + ".py").write_text(text)
    return lambda: [path.read_text() for path in sorted(pathlib.Path().glob("*.py"))]
"""

# By module, and what of it.
CLIENTS: Final = {
    "tqdm": """
        from tqdm import tqdm
        def square(x):
            return x * x
        with Pool(2) as pool:
            print(list(tqdm(pool.imap(square, range(20)), total=20, disable=None)))
            print(sorted(tqdm(pool.imap_unordered(square, range(20), 3), total=20, disable=None)))
            with tqdm(total=5, disable=None) as bar:
                later = [pool.apply_async(square, (x,), callback=bar.update) for x in range(5)]
                print([one.get() for one in later])
        """,
    "tqdm process_map": """
        import io
        import tqdm
        from tqdm.contrib.concurrent import process_map
        def square(x):
            return x * x
        def mapped(size):
            bar = io.StringIO()
            print(process_map(square, range(9), max_workers=2, chunksize=size, file=bar))
            print(bar.getvalue().split("|")[-1].split("[")[0])
        # tqdm's own lock is of the default context.
        install(concurrent.futures, "ProcessPoolExecutor", Plain)
        mapped(1)
        install(concurrent.futures, "ProcessPoolExecutor", Executor)
        if verb is not map:
            tqdm.tqdm.set_lock(multiprocessing.get_context(method).RLock())
        mapped(3)
        """,
    "black": """
        import black.concurrency
        install(black.concurrency, "ProcessPoolExecutor", Executor)
        texts = three_files("def f( x ):\\n  return {'a':x}\\n")
        black.main(["-q", "-W2", "."], standalone_mode=False)
        print(texts())
        """,
    "yapf": """
        import yapf
        install(concurrent.futures, "ProcessPoolExecutor", Executor)
        texts = three_files("def f( x ):\\n  return {'a':x}\\n")
        print(yapf.main(["yapf", "-i", "-p", "a.py", "b.py", "c.py"]))
        print(texts())
        """,
    "pylint": """
        import io
        import pylint.lint.parallel
        from pylint.reporters.text import TextReporter
        install(concurrent.futures, "ProcessPoolExecutor", Executor)
        three_files("def f(x):\\n  return unknown\\n")
        said = io.StringIO()
        lint = pylint.lint.Run(
            ["-j2", "--score=n", "a.py", "b.py", "c.py"], reporter=TextReporter(said), exit=False
        )
        print(sorted(said.getvalue().splitlines()), lint.linter.msg_status)
        """,
    "gensim LdaMulticore": """
        import gensim.models.ldamulticore as lda
        from gensim.corpora import Dictionary
        install(lda)
        if verb is not map:
            lda.Queue = multiprocessing.get_context(method).Queue
        texts = [["human", "interface", "computer"], ["graph", "trees", "minors"]] * 20
        words = Dictionary(texts)
        bags = [words.doc2bow(text) for text in texts]
        made = lda.LdaMulticore(
            bags, id2word=words, num_topics=2, workers=2, random_state=1, chunksize=10
        )
        print(made.get_topics().shape, made.get_topics().sum(axis=1).round(3))
        """,
    "gensim WikiCorpus": """
        import bz2, os, tempfile
        import gensim.corpora.wikicorpus as wiki
        install(wiki.multiprocessing)
        text = " ".join(f"word{n % 7} other{n % 5} third" for n in range(80))
        page = "<page><title>T{0}</title><ns>0</ns><id>{0}</id><revision><id>1</id><text>{1}</text>"
        page += "</revision></page>"
        pages = "".join(page.format(n, text) for n in range(1, 9))
        ns = "http://www.mediawiki.org/xml/export-0.10/"
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "wiki-pages-articles.xml.bz2")
            with bz2.open(path, "wt") as file:
                file.write(f'<mediawiki xmlns="{ns}">{pages}</mediawiki>')
            corpus = wiki.WikiCorpus(path, processes=2, article_min_tokens=5)
            print(sorted(corpus.dictionary.token2id), len(list(corpus)))
        """,
    "pyswarms": """
        import logging
        import numpy as np
        import pyswarms.single.global_best as module
        install(module.mp)
        logging.disable(logging.CRITICAL)
        def sphere(x):
            return (x**2).sum(axis=1)
        np.random.seed(1)
        found = module.GlobalBestPSO(
            n_particles=10, dimensions=2, options={"c1": 0.5, "c2": 0.3, "w": 0.9}
        ).optimize(sphere, iters=8, n_processes=2, verbose=False)
        print(found)
        """,
    "schwimmbad": """
        import importlib
        import multiprocess.pool
        import schwimmbad.multiprocessing
        install(multiprocess.pool)
        MultiPool = importlib.reload(schwimmbad.multiprocessing).MultiPool
        def square(x):
            return x * x
        seen = []
        with MultiPool(2) as pool:
            print(pool.size, pool.map(square, range(10), callback=seen.append), seen)
        """,
    "dask": """
        import warnings
        import dask
        import dask.multiprocessing, dask.threaded
        warnings.simplefilter("ignore")
        @dask.delayed
        def add(x, y):
            return x + y
        total = add(add(1, 2), add(3, add(4, 5)))
        with Pool(2) as pool, ThreadPool(2) as threads:
            print(dask.compute(total, scheduler="processes", pool=pool))
            print(dask.compute(total, scheduler="threads", pool=threads))
            with dask.config.set(pool=threads):
                print(total.compute(scheduler="threads"))
        """,
    "emcee": """
        import emcee
        import numpy as np
        def density(x, width):
            return -0.5 * (x**2).sum() / width
        def chain(pool):
            np.random.seed(3)
            start = np.random.randn(8, 2)
            sampler = emcee.EnsembleSampler(8, 2, density, args=(2.0,), pool=pool)
            sampler.run_mcmc(start, 10)
            return sampler.get_chain().sum(), sampler.get_last_sample().log_prob.sum()
        with Pool(2) as pool:
            print(chain(pool))
        print(chain(None if verb is map else verb))
        """,
    "dynesty": """
        import dynesty
        import numpy as np
        def density(x):
            return -0.5 * (x**2).sum()
        def prior(u):
            return 4 * u - 2
        with Pool(2) as pool:
            sampler = dynesty.NestedSampler(
                density, prior, 2, nlive=30, pool=pool, rstate=np.random.default_rng(5)
            )
            sampler.run_nested(maxiter=60, print_progress=False)
            print(sampler.results.logz[-1], sampler.queue_size)
        """,
    "scipy": """
        import numpy as np
        from scipy.integrate import quad_vec
        from scipy.optimize import brute, differential_evolution
        def valley(x):
            return (x**2).sum()
        def wave(x):
            return np.sin(x)
        def best(workers):
            found = differential_evolution(
                valley, [(-1, 1)] * 2, workers=workers, updating="deferred", maxiter=4, rng=1
            )
            return found.x, found.nfev
        with Pool(2) as pool:
            print(best(pool.map), best(verb))
            print(brute(valley, [(-1, 1)] * 2, Ns=5, workers=pool.map))
            print(brute(valley, [(-1, 1)] * 2, Ns=5, workers=verb))
            print(quad_vec(wave, 0, 3, workers=pool.map)[0], quad_vec(wave, 0, 3, workers=verb)[0])
        """,
    "deap": """
        import random
        from deap import base, tools
        def fitness(one):
            return (sum(one),)
        toolbox = base.Toolbox()
        random.seed(2)
        people = [[random.random() for _ in range(4)] for _ in range(6)]
        with Pool(2) as pool:
            for mapper in (pool.map, verb):
                toolbox.register("map", mapper)
                print(list(toolbox.map(fitness, people)))
        """,
    "joblib": """
        import warnings
        import joblib.pool
        def double(x):
            return 2 * x
        class Logged(joblib.pool.Pool if verb is map else Pool):
            def __init__(self, name, processes=None, **kwargs):
                self.name = name
                super().__init__(processes=processes, **kwargs)
        with Logged("mine", processes=2) as pool:
            print(pool.name, pool.map(double, range(5)), isinstance(pool, joblib.pool.Pool))
        """,
    "sklearn": """
        from sklearn.datasets import make_classification
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, cross_val_score
        from joblib import Parallel, delayed, parallel_config
        if verb is not map:
            exec(BACKEND)
        x, y = make_classification(60, random_state=0)
        with parallel_config(backend="loky" if verb is map else "pmap", n_jobs=2):
            print(Parallel()(delayed(lambda n: [n])(n) for n in range(30)))
            print(cross_val_score(LogisticRegression(), x, y).round(6))
            print(GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}).fit(x, y).best_params_)
        """,
    "nltk": """
        from nltk.stem.porter import PorterStemmer
        stem = PorterStemmer().stem
        with Pool(2) as pool:
            print(pool.map(stem, ["running", "flies", "easily", "parallel"]))
        """,
}


# The backend of joblib that the documentation shows.
_PAGE: Final = (Path(__file__).parents[2] / "docs" / "libraries.md").read_text(encoding="utf-8")
_BLOCK: Final = _PAGE.split("```python\nfrom joblib")[1].split("\nwith parallel_config")[0]
BACKEND: Final = "from joblib" + _BLOCK.replace("from pmap import Executor\n", "")


def printed(preamble: str, client: str, folder: Path) -> str:
    # The standard pools are made without a guard, which they can be in forks only. It is their
    # default up to Python 3.13.
    forks = "import multiprocessing\nmultiprocessing.set_start_method('fork')\n"
    text = FILES + forks + preamble + textwrap.dedent(client)
    (folder / "client.py").write_text(text, encoding="utf-8")
    done = finished(["client.py"], folder, limit=120, PYTHONWARNINGS="ignore")
    assert done.returncode == 0, done.stderr
    return done.stdout


def dill_can_pickle() -> bool:
    """Return whether dill can pickle a function (0.4.1 reads `co_lnotab`, which 3.15 has not)."""
    dill: Any = importlib.import_module("dill")

    try:
        dill.dumps(lambda: None)
    except AttributeError:
        return False
    return True


@pytest.mark.limit(600)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_finds_what_it_finds_in_the_standard_pool(name: str, tmp_path: Path) -> None:
    module = name.split(maxsplit=1)[0]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not in the test extra: nox -s clients installs it")
    if module == "schwimmbad" and not dill_can_pickle():
        pytest.skip("the standard pool of schwimmbad needs dill, which pickles no function here")
    expected = printed(STANDARD, CLIENTS[name], tmp_path)
    assert expected.strip()
    for method in METHODS:
        ours = OURS.format(method=method) + f"BACKEND = {BACKEND!r}\n"
        client = textwrap.dedent(CLIENTS[name]) + "assert used\n"
        assert printed(ours, client, tmp_path) == expected, method

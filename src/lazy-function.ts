/**
 * A function whose module is loaded when it is called for the first time: importing the library must not load what most
 * programs never use.
 *
 * @param load imports the module and gives the function
 */
export function lazyFunction<Args extends readonly unknown[], Result>(
  load: () => Promise<(...args: Args) => Promise<Result>>,
): (...args: Args) => Promise<Result> {
  return async (...args) => {
    const loaded = await load();
    return await loaded(...args);
  };
}

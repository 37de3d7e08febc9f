/** A sentence as the recogniser writes: lower case, apostrophes the only marks, numbers left out. */
export function asHeard(sentence) {
  return sentence
    .toLowerCase()
    .replaceAll("’", "'")
    .replace(/[-–—/]/g, " ")
    .replace(/[^a-z' ]/g, "")
    .trim()
    .split(/ +/)
    .join(" ");
}

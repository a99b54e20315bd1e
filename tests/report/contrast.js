(() => {
  const numbers = text => (text.match(/[\d.]+/g) || []).map(Number);
  const rgba = text => { const [r, g, b, a = 1] = numbers(text); return [r, g, b, a]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = colour => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const part = colour[i] / 255;
    return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ratio = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = element => {
    const layers = [];
    for (let place = element; place; place = place.parentElement) {
      const colour = rgba(getComputedStyle(place).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    const worst = element.closest(".wipe") ? [255, 255, 255, 1] : layers.pop() || [255, 255, 255, 1];
    return layers.reverse().reduce((below, layer) => over(layer, below), worst);
  };
  const found = [], seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.textContent.trim();
    const box = element.getBoundingClientRect();
    if (!text || !box.width || !box.height || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), svg = element.closest("svg");
    const shape = svg && element.previousElementSibling;
    const pill = shape && shape.tagName === "rect" ? rgba(getComputedStyle(shape).fill) : null;
    const background = pill || behind(svg ? svg.parentElement : element);
    const colour = over(rgba(svg ? style.fill : style.color), background);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const value = ratio(colour, background);
    seen.add(`${colour}|${background}`);
    if (value < (large ? 3 : 4.5)) found.push(`${text.slice(0, 40)}: ${value.toFixed(2)} (${colour} on ${background})`);
  }
  return {low: [...new Set(found)], pairs: seen.size, ground: getComputedStyle(document.body).backgroundColor};
})()

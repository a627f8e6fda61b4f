"""What pages are asked in a browser."""

# How far text stands out from its ground at worst: WCAG 2.2, 1.4.3 wants 4.5 : 1.
CONTRAST = """() => {
  const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const ground = node => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor
    if (!colour.startsWith('rgba(0, 0, 0, 0')) return colour } return 'rgb(255,255,255)' }
  let worst = 21
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some(part => part.nodeType === 3 && part.data.trim())) continue
    if (!node.checkVisibility() || node.disabled) continue
    const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x)
    worst = Math.min(worst, (a + 0.05) / (b + 0.05)) }
  return worst }"""

# Controls that a screen reader has no name for.
UNNAMED = """() => [...document.querySelectorAll('button, input:not([hidden]), select, textarea')]
  .filter(one => !(one.labels?.length || one.ariaLabel || one.textContent.trim())).map(one => one.outerHTML)"""

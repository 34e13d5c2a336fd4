// Completion for text areas that hold PromQL: names of metrics, functions, labels and their values.
//
// The text areas are Streamlit's own and work without this file. What is here listens to them, shows a list below the
// caret and puts the chosen word in; it keeps no text and sends none but the name of a metric and of a label. Plain
// JavaScript; all that comes from outside is written as text, never as HTML.

const GROUPING = new Set(["by", "without", "on", "ignoring", "group_left", "group_right"])
const MOST_SHOWN = 50
const PENDING_MS = 6000
const editors = new WeakMap()

export default function (component) {
  const { data, parentElement, setTriggerValue } = component
  let editor = editors.get(parentElement)
  if (!editor) {
    editor = new Editor(parentElement)
    editors.set(parentElement, editor)
  }
  editor.update(data, setTriggerValue)
  return () => {
    editor.leave()
    editors.delete(parentElement)
  }
}

// Where the caret stands: what can be completed there, which part of the text it would replace.
export function contextAt(text, caret, isMetric) {
  const stack = []
  let quote = null
  let quoted = 0
  let word = ""
  let begin = 0
  let previous = ""
  const top = () => stack[stack.length - 1]
  for (let at = 0; at < caret; at += 1) {
    const sign = text[at]
    if (quote) {
      if (sign === "\\" && quote !== "`") at += 1
      else if (sign === quote) quote = null
      continue
    }
    if (sign === "#") {
      const end = text.indexOf("\n", at)
      if (end < 0 || end >= caret) return null
      at = end
      word = ""
      continue
    }
    if (/[A-Za-z0-9_:$]/.test(sign)) {
      if (!word) begin = at
      word += sign
      continue
    }
    if (word) previous = word
    word = ""
    if (/\s/.test(sign)) continue
    if (sign === '"' || sign === "'" || sign === "`") {
      quote = sign
      quoted = at + 1
    } else if ("({[".includes(sign)) {
      stack.push({ sign, word: previous, label: "", operator: "" })
    } else if (")}]".includes(sign)) {
      stack.pop()
    } else if (top()?.sign === "{") {
      if ("=!~".includes(sign)) {
        if (previous) top().label = previous
        top().operator += sign
      } else if (sign === ",") {
        top().label = ""
        top().operator = ""
      }
    }
    previous = ""
  }
  const inside = top()
  if (quote) {
    if (inside?.sign !== "{" || !inside.label) return null
    const regex = inside.operator.includes("~")
    const bar = regex ? text.lastIndexOf("|", caret - 1) : -1
    const from = bar >= quoted ? bar + 1 : quoted
    return { want: "values", metric: inside.word, label: inside.label, from, quote, regex, prefix: text.slice(from, caret) }
  }
  const from = word ? begin : caret
  if (inside?.sign === "{") {
    return inside.operator ? null : { want: "labels", metric: inside.word, from, prefix: word, matcher: true }
  }
  if (inside?.sign === "[") return { want: "durations", from, prefix: word }
  if (inside?.sign === "(" && GROUPING.has(inside.word.toLowerCase())) {
    const metric = (text.match(/[A-Za-z_:][A-Za-z0-9_:]*/g) || []).find(isMetric) || ""
    return { want: "labels", metric, from, prefix: word, matcher: false }
  }
  return /^\d/.test(word) ? null : { want: "names", from, prefix: word }
}

class Editor {
  constructor(root) {
    this.root = root
    this.list = root.querySelector(".promql-list")
    this.status = root.querySelector(".promql-status")
    this.data = null
    this.area = null
    this.context = null
    this.found = []
    this.chosen = 0
    this.pending = new Map()
    this.areas = new Set()
    this.list.setAttribute("popover", "manual")
    // A press on the list leaves the caret where it is.
    this.list.addEventListener("mousedown", (event) => event.preventDefault())
    this.list.addEventListener("click", (event) => {
      const option = event.target.closest("[role=option]")
      if (option) this.accept(Number(option.dataset.place))
    })
    this.focused = (event) => this.attach(event.target)
    this.moved = (event) => {
      if (this.isOpen() && !this.list.contains(event.target)) this.place()
    }
    document.addEventListener("focusin", this.focused)
    document.addEventListener("scroll", this.moved, true)
    window.addEventListener("resize", this.moved)
    // A field that is added later, or drawn anew, comes without a word to this component.
    this.observer = new MutationObserver(() => {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined
        this.attachAll()
      })
    })
    this.observer.observe(document.body, { childList: true, subtree: true })
  }

  attachAll() {
    if (!this.data) return
    for (const area of this.areas) if (!area.isConnected) this.areas.delete(area)
    for (const area of document.querySelectorAll(this.data.areas)) this.attach(area)
    // What a button of one sign does, for who does not see it beside its field.
    for (const [selector, name] of Object.entries(this.data.names)) {
      document.querySelector(selector)?.setAttribute("aria-label", name)
    }
  }

  update(data, trigger) {
    this.data = data
    this.trigger = trigger
    this.metrics = new Set(data.metrics.map((one) => one[0]))
    for (const key of Object.keys(data.answers)) this.pending.delete(key)
    this.list.setAttribute("aria-label", data.words.list)
    this.attachAll()
    if (this.area && this.context && this.area === document.activeElement) this.look(this.asked)
  }

  attach(area) {
    if (!this.data || !area.matches?.(this.data.areas)) return
    area.style.fontFamily = getComputedStyle(this.list).getPropertyValue("--st-code-font")
    if (this.areas.has(area)) return
    this.areas.add(area)
    area.spellcheck = false
    area.setAttribute("autocapitalize", "off")
    area.setAttribute("autocorrect", "off")
    area.setAttribute("autocomplete", "off")
    area.setAttribute("aria-autocomplete", "list")
    area.setAttribute("aria-haspopup", "listbox")
    area.addEventListener("input", (event) => this.typed(area, event))
    area.addEventListener("keydown", (event) => this.pressed(area, event))
    area.addEventListener("click", () => this.close())
    area.addEventListener("blur", () => this.close())
  }

  typed(area, event) {
    this.area = area
    // What was put in from the list, or taken back, opens the list only where a value is awaited.
    this.look(false, event.inputType === "insertText" || event.inputType?.startsWith("delete"))
  }

  pressed(area, event) {
    if (event.isComposing) return
    this.area = area
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault()
      this.look(true)
      return
    }
    if (!this.isOpen()) return
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      this.close()
      return
    }
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key]
    if (step) {
      const count = this.found.length
      const next = Math.abs(step) === 1 ? (this.chosen + step + count) % count : this.chosen + step
      this.choose(Math.min(Math.max(next, 0), count - 1))
    } else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey && this.found.length) {
      this.accept(this.chosen)
    } else if (event.key === "Escape") {
      this.close()
    } else {
      if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) this.close()
      return
    }
    event.preventDefault()
    event.stopPropagation()
  }

  // Find what fits at the caret and show it; `asked`: by the key for it, then without a letter too.
  look(asked) {
    this.asked = asked
    const area = this.area
    if (area.selectionStart !== area.selectionEnd) return this.close()
    const context = contextAt(area.value, area.selectionStart, (word) => this.metrics.has(word))
    this.context = context
    if (!context || (!context.prefix && !asked && context.want === "names")) return this.close()
    const options = this.optionsFor(context)
    if (options === null) {
      this.found = []
      this.show(this.data.words.loading)
      return
    }
    this.found = fitting(options, context.prefix)
    const only = this.found.length === 1 && this.found[0].name === context.prefix && !asked
    if (!this.found.length || only) return this.close()
    this.chosen = 0
    this.show("")
  }

  optionsFor(context) {
    if (context.want === "names") {
      return [
        ...this.data.metrics.map(([name, kind, help]) => ({ name, kind: kind || "metric", help, more: "" })),
        ...this.data.functions.map((one) => ({ ...one, more: "(" })),
        ...this.data.keywords.map((name) => ({ name, kind: "keyword", help: "", more: GROUPING.has(name) ? " (" : " " })),
      ]
    }
    if (context.want === "durations") {
      return this.data.durations.map((name) => ({ name, kind: "duration", help: "", more: "]" }))
    }
    const known = this.ask(context)
    if (known === null) return null
    if (context.want === "labels") {
      return known.map((name) => ({ name, kind: "label", help: "", more: context.matcher ? '="' : "" }))
    }
    return known.map((name) => ({ name, kind: "value", help: "", more: context.quote, written: written(name, context) }))
  }

  // What the server knows of a label; null while it is asked.
  ask({ want, metric, label }) {
    const name = this.metrics.has(metric) ? metric : ""
    const key = want === "labels" ? `labels|${name}` : `values|${name}|${label}`
    const known = this.data.answers[key]
    if (known) return known
    const since = this.pending.get(key)
    if (!since || Date.now() - since > PENDING_MS) {
      this.pending.set(key, Date.now())
      this.trigger("asked", { want, metric: name, label: label || "" })
    }
    return null
  }

  accept(place) {
    const option = this.found[place]
    const { area, context } = this
    const rest = area.value.slice(area.selectionStart)
    // What follows of the same word is replaced, too.
    const tail = context.want === "values" ? /^[^"'`|]*/.exec(rest)[0] : /^[A-Za-z0-9_:$]*/.exec(rest)[0]
    const after = rest.slice(tail.length)
    const more = after.trimStart().startsWith(option.more.trim()[0] ?? "\0") || (option.more === '="' && /^\s*[=!]/.test(after)) ? "" : option.more
    this.close()
    area.focus()
    area.setSelectionRange(context.from, area.selectionStart + tail.length)
    const text = (option.written ?? option.name) + more
    // The browser's own way keeps undo; where it has none, the value is set as if it was typed.
    if (!document.execCommand("insertText", false, text)) {
      const [start, end] = [area.selectionStart, area.selectionEnd]
      const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set
      set.call(area, area.value.slice(0, start) + text + area.value.slice(end))
      area.setSelectionRange(start + text.length, start + text.length)
      area.dispatchEvent(new InputEvent("input", { bubbles: true }))
    }
    if (more !== '="') this.close()
  }

  show(message) {
    const { words } = this.data
    const options = this.found.map((one, place) => {
      const option = make("div", "promql-option", "")
      option.id = `promql-option-${place}`
      option.setAttribute("role", "option")
      option.dataset.place = place
      const name = make("span", "promql-name", "")
      const at = this.context.prefix ? one.name.toLowerCase().indexOf(this.context.prefix.toLowerCase()) : -1
      if (at < 0) name.textContent = one.name || '""'
      else {
        name.append(one.name.slice(0, at))
        name.append(make("b", "", one.name.slice(at, at + this.context.prefix.length)))
        name.append(one.name.slice(at + this.context.prefix.length))
      }
      option.append(name, make("span", "promql-kind", words[one.kind] ?? one.kind))
      if (one.help) option.append(make("span", "promql-help", one.help))
      return option
    })
    this.list.replaceChildren(...(options.length ? options : [make("div", "promql-message", message)]))
    if (!this.isOpen()) this.open()
    this.place()
    if (options.length) this.choose(0)
    this.status.textContent = options.length ? words.count.replace("{n}", options.length) : message
  }

  choose(place) {
    this.chosen = place
    for (const option of this.list.querySelectorAll("[role=option]")) {
      const is = Number(option.dataset.place) === place
      option.setAttribute("aria-selected", String(is))
      if (is) {
        option.scrollIntoView({ block: "nearest" })
        this.area.setAttribute("aria-activedescendant", option.id)
      }
    }
  }

  isOpen() {
    return !this.list.hidden
  }

  open() {
    this.list.hidden = false
    this.list.showPopover?.()
    this.area.setAttribute("role", "combobox")
    this.area.setAttribute("aria-expanded", "true")
    this.area.setAttribute("aria-controls", this.list.id)
  }

  close() {
    if (!this.isOpen()) return
    if (this.list.matches(":popover-open")) this.list.hidePopover()
    this.list.hidden = true
    this.status.textContent = ""
    for (const area of this.areas) {
      for (const name of ["role", "aria-expanded", "aria-controls", "aria-activedescendant"]) area.removeAttribute(name)
    }
  }

  // Below the line of the caret, or above it where there is no room; on a narrow screen as wide as that.
  place() {
    const caret = caretOf(this.area, this.context ? this.context.from : this.area.selectionStart)
    const width = Math.min(560, window.innerWidth - 16)
    this.list.style.width = `${width}px`
    this.list.style.left = `${Math.max(8, Math.min(caret.left - 8, window.innerWidth - width - 8))}px`
    const height = Math.min(this.list.scrollHeight, 288)
    const below = caret.bottom + 4
    const seen = window.visualViewport ? window.visualViewport.height : window.innerHeight
    this.list.style.top = `${below + height <= seen || caret.top - height < 8 ? below : caret.top - height - 6}px`
  }

  leave() {
    this.close()
    this.observer.disconnect()
    document.removeEventListener("focusin", this.focused)
    document.removeEventListener("scroll", this.moved, true)
    window.removeEventListener("resize", this.moved)
  }
}

// Those that begin with what was typed first, then those that hold it; the shortest first.
function fitting(options, prefix) {
  const typed = prefix.toLowerCase()
  const scored = []
  for (const one of options) {
    const at = one.name.toLowerCase().indexOf(typed)
    if (at >= 0) scored.push([at > 0 ? 1 : 0, one.kind === "keyword" ? 1 : 0, typed ? one.name.length : 0, one])
  }
  scored.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2])
  return scored.slice(0, MOST_SHOWN).map((one) => one[3])
}

// A label's value as it stands between quotes.
function written(value, { quote, regex }) {
  const meant = regex ? value.replace(/[\\^$.|?*+()[\]{}]/g, "\\$&") : value
  if (quote === "`") return meant
  return meant.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll(quote, `\\${quote}`)
}

function make(tag, name, text) {
  const element = document.createElement(tag)
  if (name) element.className = name
  if (text) element.textContent = text
  return element
}

// Where a place of the text is on the screen: a twin of the text area tells.
function caretOf(area, place) {
  const style = getComputedStyle(area)
  const twin = document.createElement("div")
  for (const name of ["fontFamily", "fontSize", "fontWeight", "letterSpacing", "lineHeight", "padding", "border", "boxSizing", "tabSize"]) {
    twin.style[name] = style[name]
  }
  Object.assign(twin.style, { position: "absolute", visibility: "hidden", whiteSpace: "pre-wrap", overflowWrap: "break-word", width: `${area.clientWidth}px` })
  twin.textContent = area.value.slice(0, place)
  const mark = document.createElement("span")
  mark.textContent = "\u200b"
  twin.append(mark)
  document.body.append(twin)
  const box = area.getBoundingClientRect()
  const top = box.top + mark.offsetTop - area.scrollTop
  const found = { left: box.left + mark.offsetLeft, top, bottom: Math.min(top + mark.offsetHeight, box.bottom) }
  twin.remove()
  return found
}

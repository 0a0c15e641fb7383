-- The guard inside HAProxy: the same verdicts as nodegate.policy.guard, which is the reference.
--
-- Loaded with `lua-load-per-thread guard.lua /path/guard.map KIND...`. It registers two fetches:
--   lua.nodegate_guard(KIND,POOL)  facts | refusal | preflight | upgrade; needs `option http-buffer-request`
--   lua.nodegate_policy(KIND)      the version in force on this thread, "none" before the first
-- Facts:   ok|method|class|lane|cost|idempotent|timeout ms|cache s|client 10 s|client 1 m|all 10 s|all 1 m|count
-- Refusal: no|rule|status|reason
--
-- The policy comes from the map, so that a map transaction changes it without a reload. A version is taken
-- over whole or not at all; until then the one before stays in force, and without any all is refused.

local MAP_FILE = ...
local KINDS = { select(2, ...) }

local find, match, sub, byte, lower = string.find, string.match, string.sub, string.byte, string.lower
local char, gsub, gmatch = string.char, string.gsub, string.gmatch
local tointeger = math.tointeger
local concat = table.concat

local MAX_INTEGER = 1 << 53
local MAX_FACTOR = 1000000000
local MAX_PATH = 2048

-- Values: strings, integers and booleans are themselves; [0] tells containers and opaque values apart.
local NULL = { [0] = "null" }
local ESCAPED = { [0] = "string" }
local INEXACT = { [0] = "number" }

local function refuse(rule, about)
  error({ rule = rule, about = about or "" }, 0)
end

local function kind_of(value)
  return type(value) == "table" and value[0] or nil
end

---------------------------------------------------------------------------------------------------------
-- Strict JSON: see nodegate.policy.strictjson for the rules and their reasons.

local function skip(s, at)
  local first = byte(s, at)
  if first and first > 32 then return at end
  return match(s, "^[ \t\n\r]*()", at)
end

local HIGH_FIRST, HIGH_LAST, LOW_FIRST, LOW_LAST = 0xD800, 0xDBFF, 0xDC00, 0xDFFF

local function escaped_end(s, at)
  local low_due = false
  at = at + 1
  while true do
    local run = match(s, '^[^"\\\0-\31]*()', at)
    if low_due and run ~= at then refuse("json-string") end
    local first = byte(s, run)
    if first == 34 then
      if low_due then refuse("json-string") end
      return run + 1
    end
    if first ~= 92 then refuse("json-string") end
    local hex = match(s, "^u(%x%x%x%x)", run + 1)
    local code = hex and tonumber(hex, 16) or 0
    if not hex and not find(s, '^["\\/bfnrt]', run + 1) then refuse("json-string") end
    local is_low = code >= LOW_FIRST and code <= LOW_LAST
    if low_due ~= is_low then refuse("json-string") end
    low_due = code >= HIGH_FIRST and code <= HIGH_LAST
    at = run + (hex and 6 or 2)
  end
end

local function read_string(scan, at)
  local s = scan.text
  if scan.clean then
    local last = find(s, '"', at + 1, true)
    if not last then refuse("json-string") end
    return sub(s, at + 1, last - 1), last + 1
  end
  local text, after = match(s, '^"([^"\\\0-\31]*)"()', at)
  if text then return text, after end
  return ESCAPED, escaped_end(s, at)
end

local function read_number(s, at)
  local after = match(s, "^-?0()", at) or match(s, "^-?[1-9]%d*()", at)
  if not after then refuse("json-number") end
  local fraction = match(s, "^%.%d+()", after)
  local digits, exponent = match(s, "^[eE][+-]?(%d+)()", fraction or after)
  if not fraction and not exponent then
    local number = after - at <= 17 and tointeger(tonumber(sub(s, at, after - 1)))
    if not number or number > MAX_INTEGER or number < -MAX_INTEGER then refuse("json-number") end
    return number, after
  end
  local last = exponent or fraction
  if last - at > 32 or (digits and #digits > 2) then refuse("json-number") end
  return INEXACT, last
end

local function comma(s, at)
  if byte(s, at) ~= 44 then refuse("json-syntax") end
  return skip(s, at + 1)
end

local read_value

local function read_object(scan, at, depth)
  local s, members, folded = scan.text, { [0] = "object" }, {}
  at = skip(s, at)
  if byte(s, at) == 125 then return members, at + 1 end
  while true do
    local name, after = match(s, '^"([ !#-Z_a-z%[%]^`{|}~]*)"()', at)
    if not name then refuse(byte(s, at) == 34 and "json-name" or "json-syntax") end
    local fold = lower(name)
    if folded[fold] then refuse("json-duplicate") end
    folded[fold] = true
    at = skip(s, after)
    if byte(s, at) ~= 58 then refuse("json-syntax") end
    members[name], at = read_value(scan, skip(s, at + 1), depth)
    at = skip(s, at)
    if byte(s, at) == 125 then return members, at + 1 end
    at = comma(s, at)
  end
end

local function read_array(scan, at, depth)
  local s, items, count = scan.text, { [0] = "array", [-1] = 0 }, 0
  at = skip(s, at)
  if byte(s, at) == 93 then return items, at + 1 end
  while true do
    count = count + 1
    items[count], at = read_value(scan, at, depth)
    at = skip(s, at)
    if byte(s, at) == 93 then
      items[-1] = count
      return items, at + 1
    end
    at = comma(s, at)
  end
end

function read_value(scan, at, depth)
  if scan.left == 0 then refuse("json-values", scan.most) end
  scan.left = scan.left - 1
  local s = scan.text
  local first = byte(s, at)
  if first == 34 then return read_string(scan, at) end
  if first == 123 or first == 91 then
    if depth == 0 then refuse("json-depth", scan.depth) end
    if first == 123 then return read_object(scan, at + 1, depth - 1) end
    return read_array(scan, at + 1, depth - 1)
  end
  if first == 45 or (first and first >= 48 and first <= 57) then return read_number(s, at) end
  if sub(s, at, at + 3) == "true" then return true, at + 4 end
  if sub(s, at, at + 4) == "false" then return false, at + 5 end
  if sub(s, at, at + 3) == "null" then return NULL, at + 4 end
  refuse("json-syntax")
end

local function parse(text, depth, most)
  if not utf8.len(text) then refuse("body-utf8") end
  -- Without any control character and backslash in the text a string simply ends at the next quote.
  local clean = match(text, "^%C*()") == #text + 1 and not find(text, "\\", 1, true)
  local scan = { text = text, left = most, most = most, depth = depth, clean = clean }
  local value, at = read_value(scan, skip(text, 1), depth)
  if skip(text, at) ~= #text + 1 then refuse("json-trailing") end
  return value
end

---------------------------------------------------------------------------------------------------------
-- Patterns: atoms take all they can and give nothing back; globs are literals in order.

local function atoms_fit(atoms, text)
  local at = 1
  for i = 1, #atoms do
    local atom = atoms[i]
    local after = match(text, atom.run, at)
    local count = after - at
    if atom.most > 0 and count > atom.most then count = atom.most end
    if count < atom.least then return false end
    at = at + count
  end
  return at == #text + 1
end

local function glob_found(parts, text, whole)
  text = lower(text)
  if whole and #parts == 1 then return text == parts[1] end
  local at = 1
  for i = 1, #parts do
    local part = parts[i]
    if whole and i == 1 then
      if sub(text, 1, #part) ~= part then return false end
      at = #part + 1
    elseif whole and i == #parts then
      return #text - at + 1 >= #part and (part == "" or sub(text, -#part) == part)
    else
      local first, last = find(text, part, at, true)
      if not first then return false end
      at = last + 1
    end
  end
  return true
end

local function any_glob(globs, text, whole)
  for i = 1, #globs do
    if glob_found(globs[i], text, whole) then return true end
  end
  return false
end

local function path_fits(rule, parts)
  local wanted = rule.segments
  if #parts < #wanted or (#parts > #wanted and not rule.rest) then return false end
  for i = 1, #wanted do
    local segment, found = wanted[i], parts[i]
    if segment.is then
      if segment.is ~= found then return false end
    elseif found == "" or (segment.atoms and not atoms_fit(segment.atoms, found)) then
      return false
    end
  end
  return true
end

---------------------------------------------------------------------------------------------------------
-- Arguments and their price.

local function lookup(root, path)
  local value = root
  for i = 1, #path do
    local part = path[i]
    local kind = kind_of(value)
    if kind == "array" then
      local digits = match(part, "^%d+$")
      local index = digits and tointeger(tonumber(digits))
      if not index or index >= value[-1] then return nil end
      value = value[index + 1]
    elseif kind == "object" then
      local found = value[part]
      if found == nil then
        local fold = lower(part)
        for name in pairs(value) do
          if name ~= 0 and lower(name) == fold then refuse("arg-case", concat(path, ".")) end
        end
      end
      value = found
    else
      return nil
    end
    if value == nil then return nil end
  end
  if value == NULL then return nil end
  return value
end

local function quantity(text)
  local digits = match(text, "^0x(%x+)$")
  if not digits or #digits > 16 then return nil end
  local number = 0
  for i = 1, #digits do
    number = number * 16 + tonumber(sub(digits, i, i), 16)
    if number > MAX_INTEGER then return nil end
  end
  return number
end

local TAGS = { latest = true, pending = true, safe = true, finalized = true, earliest = true }

local TYPE_FITS = {
  any = function() return true end,
  string = function(value) return type(value) == "string" end,
  integer = function(value) return type(value) == "number" end,
  boolean = function(value) return type(value) == "boolean" end,
  array = function(value) return kind_of(value) == "array" end,
  object = function(value) return kind_of(value) == "object" end,
  quantity = function(value) return type(value) == "string" and quantity(value) ~= nil end,
  block = function(value)
    return type(value) == "string" and (TAGS[value] or quantity(value) ~= nil)
  end,
}

local function value_fits(rule, value)
  if not rule.type_fits(value) then return false end
  if not rule.looks then return true end
  if type(value) ~= "string" then return false end
  if rule.shortest and #value < rule.shortest then return false end
  if rule.longest and #value > rule.longest then return false end
  return not rule.atoms or atoms_fit(rule.atoms, value)
end

local function number_of(value)
  if type(value) == "string" then return quantity(value) end
  return type(value) == "number" and value or nil
end

local function number_fits(rule, value)
  if not rule.min and not rule.max then return true end
  local number = number_of(value)
  if not number then return rule.type == "block" and TAGS[value] or false end
  return (not rule.min or number >= rule.min) and (not rule.max or number <= rule.max)
end

local function list_fits(rule, value)
  if not rule.min_items and not rule.max_items and not rule.items then return true end
  if kind_of(value) ~= "array" then return false end
  local count = value[-1]
  if rule.min_items and count < rule.min_items then return false end
  if rule.max_items and count > rule.max_items then return false end
  if rule.items then
    for i = 1, count do
      if not value_fits(rule.items, value[i]) then return false end
    end
  end
  return true
end

local function check_arg(method, rule, value)
  if value == nil then
    if rule.required then refuse("arg-missing", rule.say) end
    return
  end
  if rule.forbidden then refuse("arg-forbidden", rule.say) end
  if value == ESCAPED and rule.looks_into_text then
    refuse("arg-escape", method.name .. ": " .. rule.name)
  end
  if rule.one_of and not (type(value) == "string" and rule.one_of[value]) then
    refuse("arg-value", rule.say)
  end
  if rule.single and kind_of(value) ~= "array" then value = { [0] = "array", [-1] = 1, value } end
  if not (value_fits(rule, value) and number_fits(rule, value) and list_fits(rule, value)) then
    refuse("arg-value", rule.say)
  end
end

local function refuse_unknown(method, root, own)
  local known = method.known
  if root[0] == "array" then
    for i = 0, root[-1] - 1 do
      if not known[tostring(i)] then refuse("arg-unknown", method.name) end
    end
    return
  end
  for name in pairs(root) do
    if name ~= 0 and name ~= own and not known[name] then refuse("arg-unknown", method.name) end
  end
end

local function range_end(method, value, height)
  if value == nil then return height, true end
  if type(value) == "string" then
    if value == "earliest" then return 0, false end
    if TAGS[value] then return height, true end
    local number = quantity(value)
    if number then return number, false end
  end
  refuse("range-form", method.name)
end

local function blocks_of(method, root, height)
  local range = method.range
  if not range or (range.unless and lookup(root, range.unless) ~= nil) then return 0 end
  local first, first_open = range_end(method, lookup(root, range.start), height)
  local last, last_open = range_end(method, lookup(root, range["end"]), height)
  if first_open and last_open then return 0 end
  if not first or not last then refuse("range-open", method.name) end
  local blocks = last > first and last - first or 0
  if blocks > range.max then refuse("range-size", range.say) end
  return blocks
end

local function price(method, root, own, height)
  if not method.open then refuse_unknown(method, root, own) end
  for i = 1, #method.args do
    local rule = method.args[i]
    check_arg(method, rule, lookup(root, rule.path))
  end
  if #method.any > 0 then
    local given = false
    for i = 1, #method.any do given = given or lookup(root, method.any[i]) ~= nil end
    if not given then refuse("arg-missing", method.any_say) end
  end
  local blocks = blocks_of(method, root, height)
  local total = method.cost
  for _, item in ipairs(method.items) do
    local value = lookup(root, item[1])
    if kind_of(value) == "array" then
      total = total + item[2] * value[-1]
    elseif value ~= nil then
      total = total + item[2]
    end
  end
  for _, item in ipairs(method.prices) do
    local number = number_of(lookup(root, item[1])) or 0
    total = total + item[2] * (number < 0 and 0 or number > MAX_FACTOR and MAX_FACTOR or number)
  end
  if method.units then total = total + blocks // method.units end
  return total
end

---------------------------------------------------------------------------------------------------------
-- The body.

local function pick_method(policy, value)
  if value == ESCAPED then refuse("json-escape") end
  if type(value) ~= "string" then refuse("method-missing") end
  local method = policy.methods[value]
  if not method then
    if not policy.allow or policy.folded[lower(value)] then refuse("method-unknown") end
    method = policy.unlisted
  end
  if method.deny then refuse("method-denied", method.name) end
  return method
end

local function facts(policy, calls)
  local total, idempotent, timeout = 0, true, 0
  local lead = calls[1]
  for i = 1, #calls do
    local call = calls[i]
    total = total + call.cost
    idempotent = idempotent and call.method.idem
    if call.method.ms > timeout then timeout = call.method.ms end
    local rank, best = call.method.rank, lead.method.rank
    if rank > best or (rank == best and call.cost > lead.cost) then lead = call end
  end
  if total > policy.cost then refuse("cost", policy.cost) end
  local method = lead.method
  return concat({
    "ok", method.name, method.class, method.lane, total, idempotent and 1 or 0, timeout,
    #calls == 1 and method.cache or 0, method.rates, #calls,
  }, "|")
end

local function call_of(policy, value, height)
  if kind_of(value) ~= "object" then refuse("json-shape") end
  for name in pairs(value) do
    if name ~= 0 and name ~= "jsonrpc" and name ~= "id" and name ~= "method" and name ~= "params" then
      refuse("rpc-member")
    end
  end
  if value.jsonrpc ~= "2.0" then refuse("rpc-version") end
  local id = value.id
  if not (id == NULL or type(id) == "number" or (type(id) == "string" and #id <= 128)) then refuse("rpc-id") end
  local method = pick_method(policy, value.method)
  local params = value.params
  if params == nil or params == NULL then params = { [0] = "array", [-1] = 0 } end
  local shape = kind_of(params)
  if shape ~= "array" and not (policy.named and shape == "object") then refuse("rpc-params") end
  return { method = method, cost = price(method, params, nil, height) }
end

local function batch_of(policy, items, height)
  if policy.batch == 0 then refuse("batch-forbidden") end
  local count = items[-1]
  if count == 0 then refuse("batch-empty") end
  if count > policy.batch then refuse("batch-size", policy.batch) end
  local calls = {}
  for i = 1, count do
    local call = call_of(policy, items[i], height)
    if not call.method.batch then refuse("batch-method", call.method.name) end
    calls[i] = call
  end
  return calls
end

local function judge_body(policy, body, height)
  if #body > policy.body_bytes then refuse("body-size", policy.body_bytes) end
  if policy.form == "rest" then
    if any_glob(policy.denied, body, false) then refuse("body-pattern") end
    return "ok"
  end
  if body == "" then refuse("body-empty") end
  local value = parse(body, policy.depth, policy.values)
  if any_glob(policy.denied, body, false) then refuse("body-pattern") end
  if policy.form == "command" then
    if kind_of(value) ~= "object" then refuse("json-shape") end
    local method = pick_method(policy, value.command)
    return facts(policy, { { method = method, cost = price(method, value, "command", height) } })
  end
  if kind_of(value) == "array" then return facts(policy, batch_of(policy, value, height)) end
  return facts(policy, { call_of(policy, value, height) })
end

---------------------------------------------------------------------------------------------------------
-- The head.

local function decode(part)
  local out = gsub(part, "%%(%x?%x?)", function(hex)
    if #hex < 2 then refuse("path-encoding") end
    local code = tonumber(hex, 16)
    if code < 32 or code == 127 or code == 47 or code == 92 or code == 37 or code == 59 then
      refuse("path-encoding")
    end
    return char(code)
  end)
  if not utf8.len(out) then refuse("path-encoding") end
  return out
end

local function read_target(target)
  local path, query = match(target, "^([^?]*)(%??)")
  if byte(path) ~= 47 or #path > MAX_PATH or find(path, "[^!$&-.0-:=@-Z_a-z~/%%]") then refuse("path-form") end
  local parts = {}
  for part in gmatch(sub(path, 2) .. "/", "([^/]*)/") do parts[#parts + 1] = decode(part) end
  for i = 1, #parts do
    local part = parts[i]
    if part == "." or part == ".." or (part == "" and i < #parts) then refuse("path-form") end
  end
  return parts, query ~= ""
end

-- All values of one header. HAProxy writes the block as "name: value\r\n" with names in lower case.
local function values_of(head, needle)
  local values, at = nil, 1
  while true do
    local _, last = find(head, needle, at, true)
    if not last then return values end
    at = find(head, "\r", last + 1, true) or #head + 1
    values = values or {}
    values[#values + 1] = sub(head, last + 1, at - 1)
  end
end

local function check_header(rule, verb, values)
  if not values then
    if rule.required and not rule.except[verb] then refuse("header-required", rule.name) end
    return
  end
  if rule.forbidden then refuse("header-forbidden", rule.name) end
  if #values > 1 then refuse("header-repeated", rule.name) end
  if #values[1] > rule.bytes or (rule.atoms and not atoms_fit(rule.atoms, values[1])) then
    refuse("header-malformed", rule.name)
  end
end

local function check_headers(policy, verb, head)
  for _, value in ipairs(values_of(head, "\ncontent-encoding: ") or {}) do
    if lower(value) ~= "identity" then refuse("content-encoding") end
  end
  for _, rule in ipairs(policy.headers) do check_header(rule, verb, values_of(head, rule.needle)) end
  if #policy.agents == 0 then return end
  for _, agent in ipairs(values_of(head, "\nuser-agent: ") or {}) do
    if any_glob(policy.agents, agent, true) then refuse("user-agent") end
  end
end

local function match_rest(policy, verb, parts)
  local other_verb = false
  for pass = 1, 2 do
    for _, method in ipairs(policy.list) do
      local rule = method.rest
      if rule.exact == (pass == 1) and path_fits(rule, parts) then
        if rule.http[verb] then return method end
        other_verb = true
      end
    end
  end
  refuse(other_verb and "http-method" or "path-unknown")
end

local function path_method(policy, verb, parts, query)
  if policy.form == "rest" then
    local method = match_rest(policy, verb, parts)
    if method.deny then refuse("method-denied", method.name) end
    if query and not method.rest.query then refuse("query") end
    return method
  end
  local known = false
  for _, rule in ipairs(policy.paths) do known = known or path_fits(rule, parts) end
  if not known then refuse("path-unknown") end
  if query and not policy.query then refuse("query") end
  return nil
end

local ROOT = { "" }

local function judge_head(policy, head)
  local method, target, block = match(head, "^(%S+) ([^\n]*)\n()")
  if not method then refuse("path-form") end
  -- The block ends with an empty line, which counts for nothing.
  if #head - block - 1 > policy.head_bytes then refuse("head-size", policy.head_bytes) end
  local verb = lower(method)
  local upgrade = values_of(head, "\nupgrade: ")
  local websocket = policy.websocket and verb == "get"
  if not policy.http[verb] and not (upgrade and websocket) then refuse("http-method") end
  local parts, query = ROOT, false
  if target ~= "/" then parts, query = read_target(target) end
  check_headers(policy, verb, head)
  if verb == "options" then
    if not policy.cors then refuse("http-method") end
    return "preflight"
  end
  local rest = path_method(policy, verb, parts, query)
  if upgrade then
    if not websocket or #upgrade ~= 1 or upgrade[1] ~= "websocket" then refuse("upgrade") end
    return "upgrade"
  end
  if not rest then return "ok" end
  return facts(policy, { { method = rest, cost = rest.cost } })
end

---------------------------------------------------------------------------------------------------------
-- Loading a policy: JSON texts as nodegate.policy.compile writes them.

local function plain(value)
  if value == NULL then return nil end
  if type(value) ~= "table" then return value end
  local out = {}
  if value[0] == "array" then
    for i = 1, value[-1] do out[i] = plain(value[i]) end
  else
    for name, member in pairs(value) do
      if name ~= 0 then out[name] = plain(member) end
    end
  end
  return out
end

local function unhex(text)
  return (gsub(text, "%x%x", function(pair) return char(tonumber(pair, 16)) end))
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- A Lua class of the given bytes: spans of letters and digits as ranges, all else escaped.
local function class_of(bytes)
  local out, i = {}, 1
  while i <= #bytes do
    local last = i
    while last < #bytes and byte(bytes, last + 1) == byte(bytes, last) + 1
      and find(sub(bytes, last, last + 1), "^%w%w$") do
      last = last + 1
    end
    local from, to = sub(bytes, i, i), sub(bytes, last, last)
    if not find(from, "%w") then
      out[#out + 1] = "%" .. from
    elseif last > i then
      out[#out + 1] = from .. "-" .. to
    else
      out[#out + 1] = from
    end
    i = last + 1
  end
  return "[" .. concat(out) .. "]"
end

local function load_atoms(atoms)
  if not atoms then return nil end
  for i, atom in ipairs(atoms) do
    atoms[i] = { run = "^" .. class_of(unhex(atom[1])) .. "*()", least = atom[2], most = atom[3] }
  end
  return atoms
end

local function load_globs(globs)
  for _, parts in ipairs(globs) do
    for i = 1, #parts do parts[i] = unhex(parts[i]) end
  end
  return globs
end

local function load_path(path)
  for _, segment in ipairs(path.segments) do
    if segment.is then segment.is = unhex(segment.is) end
    load_atoms(segment.atoms)
  end
  return path
end

local function load_item(rule)
  rule.type_fits = assert(TYPE_FITS[rule.type], "unknown type of argument")
  load_atoms(rule.atoms)
  rule.looks = (rule.shortest or rule.longest or rule.atoms) ~= nil
end

local function load_method(part)
  part.known = set_of(part.known)
  part.any_say = unhex(part.any_say)
  part.rates = concat(part.rates, "|")
  for _, rule in ipairs(part.args) do
    load_item(rule)
    if rule.items then load_item(rule.items) end
    rule.say = unhex(rule.say)
    if rule.one_of then
      local options = {}
      for _, option in ipairs(rule.one_of) do options[unhex(option)] = true end
      rule.one_of = options
    end
    rule.looks_into_text = rule.type == "string" or rule.type == "quantity" or rule.type == "block"
      or rule.one_of ~= nil or rule.single
  end
  if part.range then
    part.range.say = unhex(part.range.say)
    part.units = part.range.units
  end
  if part.rest then
    load_path(part.rest)
    part.rest.http = set_of(part.rest.http)
  end
  return part
end

local LOADERS = {
  base = function(policy, part)
    for name, value in pairs(part) do policy[name] = value end
    policy.http = set_of(part.http)
    for _, path in ipairs(part.paths) do load_path(path) end
    load_globs(part.agents)
    load_globs(part.denied)
  end,
  text = function(policy, part)
    policy.texts[part.rule] = { status = part.status, say = unhex(part.say) }
  end,
  header = function(policy, part)
    part.except = set_of(part.except)
    part.needle = "\n" .. part.name .. ": "
    load_atoms(part.atoms)
    policy.headers[#policy.headers + 1] = part
  end,
  method = function(policy, part)
    load_method(part)
    policy.methods[part.name] = part
    policy.folded[lower(part.name)] = true
    policy.list[#policy.list + 1] = part
    policy.ranged = policy.ranged or part.range ~= nil
  end,
  unlisted = function(policy, part) policy.unlisted = load_method(part) end,
}

local function refusal(policy, fault)
  local text = policy.texts[fault.rule]
  -- A function, because a sentence may hold characters that mean something in a replacement.
  local say = gsub(text.say, "{}", function() return tostring(fault.about) end)
  return "no|" .. fault.rule .. "|" .. text.status .. "|" .. say
end

local function guarded(judge, policy, input, height)
  local done, result = pcall(judge, policy, input, height)
  if done then return result end
  if type(result) == "table" and result.rule then return refusal(policy, result) end
  return "no|policy|503|the guard failed"
end

-- Bodies without arguments have one verdict each: they are looked up instead of parsed.
local function load_trivial(policy)
  policy.trivial = {}
  for name, method in pairs(policy.methods) do
    if not method.range then
      local forms = policy.form == "command" and { '{"command":"%s"}', '{"command": "%s"}' } or {}
      for _, form in ipairs(forms) do
        local body = string.format(form, name)
        policy.trivial[body] = guarded(judge_body, policy, body)
      end
      if policy.form == "jsonrpc" and #policy.denied == 0 then
        local body = '{"jsonrpc":"2.0","method":"' .. name .. '","params":[],"id":1}'
        policy.trivial[name] = guarded(judge_body, policy, body)
      end
    end
  end
end

local TRIVIAL_CALLS = {
  '^{"jsonrpc": ?"2%.0", ?"method": ?"([%w_]+)", ?"params": ?%[%], ?"id": ?(%d+)}$',
  '^{"method": ?"([%w_]+)", ?"params": ?%[%], ?"id": ?(%d+), ?"jsonrpc": ?"2%.0"}$',
}

local function trivial_line(policy, body)
  if policy.form ~= "jsonrpc" then return policy.trivial[body] end
  if #body > 120 or #body > policy.body_bytes then return nil end
  for i = 1, 2 do
    local name, id = match(body, TRIVIAL_CALLS[i])
    if name then
      -- 15 digits are within the bound on integers, and a leading zero is no JSON.
      if #id > 15 or (byte(id) == 48 and #id > 1) then return nil end
      return policy.trivial[name]
    end
  end
  return nil
end

-- texts: the policy's JSON texts in order. Raises on anything that is not a whole, valid program.
local function load_policy(texts)
  local policy = { texts = {}, headers = {}, methods = {}, folded = {}, list = {} }
  for _, text in ipairs(texts) do
    local part = plain(parse(text, 64, 1000000))
    assert(LOADERS[part.t], "unknown part")(policy, part)
  end
  assert(policy.form and policy.unlisted and policy.texts["policy"], "the policy is not complete")
  load_trivial(policy)
  return policy
end

local function head_line(policy, head) return guarded(judge_head, policy, head) end

local function body_line(policy, body, height)
  return trivial_line(policy, body) or guarded(judge_body, policy, body, height)
end

if not core then
  return { load_policy = load_policy, head_line = head_line, body_line = body_line }
end

---------------------------------------------------------------------------------------------------------
-- Inside HAProxy.

local entries = Map.new(MAP_FILE, Map._str)
local in_force = {} -- by kind: the policy this thread obeys
local NO_POLICY = "no|policy|503|the gateway has no valid policy for this kind of node"

local function read_texts(kind, version, count)
  local texts = {}
  for number = 0, count - 1 do
    local text = entries:lookup(kind .. "/" .. version .. "/" .. number)
    if not text then error("entry " .. number .. " is missing") end
    texts[number + 1] = text
  end
  return texts
end

-- A failed version is tried again only when it may have been caught in the middle of a change: the pointer
-- differs from the one that failed, or entries were missing.
local function take_over(kind, pointer)
  local held = in_force[kind] or {}
  in_force[kind] = held
  held.pointer = pointer
  local version, count = match(pointer, "^(%x+) (%d+)$")
  local done, result = pcall(function() return load_policy(read_texts(kind, version, tointeger(count))) end)
  if done then
    held.policy, held.version = result, version
    core.Info("nodegate guard: policy " .. kind .. " " .. version .. " is in force")
  else
    if type(result) == "table" then result = result.rule end
    if find(tostring(result), "is missing") then held.pointer = nil end
    core.Alert("nodegate guard: policy " .. kind .. " " .. pointer .. " is refused: " .. tostring(result))
  end
  return held.policy
end

local function policy_of(kind)
  local pointer = entries:lookup(kind)
  local held = in_force[kind]
  if held and held.pointer == pointer then return held.policy end
  if not pointer then return held and held.policy end
  return take_over(kind, pointer)
end

local function height_of(pool)
  local text = pool and entries:lookup("height/" .. pool)
  return text and tointeger(tonumber(text)) or nil
end

-- One fetch for head and body, because HAProxy builds a transaction object for each call; and no converter,
-- because what goes into one is cut at the first zero byte.
core.register_fetches("nodegate_guard", function(txn, kind, pool)
  local policy = policy_of(kind)
  if not policy then return NO_POLICY end
  local f = txn.f
  -- `OPTIONS *` has no path: nothing, then, which the head's rules refuse.
  local line = head_line(policy, f:method() .. " " .. (f:pathq() or "") .. "\n" .. f:req_hdrs())
  local facts_known = sub(line, 1, 3) == "ok|"
  if line ~= "ok" and not facts_known then return line end
  local verdict = body_line(policy, f:req_body() or "", policy.ranged and height_of(pool) or nil)
  return facts_known and verdict == "ok" and line or verdict
end)

core.register_fetches("nodegate_policy", function(_, kind)
  local held = in_force[kind]
  return held and held.version or "none"
end)

-- Threads without traffic keep up too, so that all obey one version soon after a change.
local POLL_MS = 250

core.register_init(function()
  for _, kind in ipairs(KINDS) do policy_of(kind) end
end)

core.register_task(function()
  while true do
    core.msleep(POLL_MS)
    for _, kind in ipairs(KINDS) do policy_of(kind) end
  end
end)

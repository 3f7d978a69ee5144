-- Sends one scenario's requests. Judges every answer, or only counts what it sends: for a script that looks at answers
-- wrk makes a table of each answer's headers, which takes more of the processor than a fast service does, so that what
-- is timed must not be judged meanwhile. Arguments, after wrk's own --:
--   1 the scenario: list, one, 304, new, replay, coupon or mix
--   2 a folder with what was asked once before and found right:
--     menu, other-menu (may be served, too), product-1 … (bodies), etag, order and coupon-order (bodies of requests)
--   3 the total that an order must have, as text
--   4 milliseconds to wait before each request, 0 for none
--   5 judge or count
-- Prints one line of JSON in the end. Its counts are of right answers where they are judged, else of what was sent.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

local function read(folder, name)
   local file = assert(io.open(folder .. "/" .. name, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

local PRODUCTS = 10
local KEYS = 200
local REASONS = { [200] = "OK", [304] = "Not Modified" }
local menu, other_menu, known_products, scenario, total
local get_menu, get_products, get_current, post_order, post_coupon, post_keyed
local turn, product = 0, 0

-- what is summed over the threads, of which only globals can be asked for: answers or requests by kind, and the bytes
-- of those answers
local KINDS = { "menu", "product", "order" }
local COUNTS = { menu = "menus", product = "products", order = "orders" }
local SIZES = { menu = "menu_bytes", product = "product_bytes", order = "order_bytes" }

local prepare_requests, makers, judge

function init(args)
   scenario, total = args[1], '"total":' .. args[3]
   wrong, largest, example = 0, 0, ""
   for _, kind in ipairs(KINDS) do
      _G[COUNTS[kind]], _G[SIZES[kind]] = 0, 0
   end
   prepare_requests(args[2])
   local pause = tonumber(args[4])
   if pause > 0 then
      function delay() return math.random(0, 2 * pause) end
   end
   math.randomseed(os.time())
   judges = args[5] == "judge"
   if judges then
      -- wrk asks the first thread, once init has been called, whether there is a function of this name
      request, response = makers[scenario], judge
   else
      request = first_request
   end
end

local function counted_request()
   local text, kind = makers[scenario]()
   local name = COUNTS[kind]
   _G[name] = _G[name] + 1
   return text
end

-- wrk asks its first thread (there is no other) for one request that it looks at and does not send
function first_request()
   request = counted_request
   return (makers[scenario]())
end

function prepare_requests(folder)
   menu, other_menu = read(folder, "menu"), read(folder, "other-menu")
   known_products, get_products, post_keyed = {}, {}, {}
   local plain = { ["Host"] = wrk.host .. ":" .. wrk.port }
   get_menu = wrk.format("GET", "/api/product", plain)
   for id = 1, PRODUCTS do
      known_products[read(folder, "product-" .. id)] = true
      get_products[id] = wrk.format("GET", "/api/product/" .. id, plain)
   end
   local current = { ["Host"] = plain["Host"], ["If-None-Match"] = read(folder, "etag") }
   get_current = wrk.format("GET", "/api/product", current)
   local json = { ["Host"] = plain["Host"], ["Content-Type"] = "application/json", ["api_key"] = "apitest" }
   post_order = wrk.format("POST", "/api/order", json, read(folder, "order"))
   post_coupon = wrk.format("POST", "/api/order", json, read(folder, "coupon-order"))
   for number = 1, KEYS do
      json["Idempotency-Key"] = "benchmark-" .. (number - 1)
      post_keyed[number] = wrk.format("POST", "/api/order", json, read(folder, "order"))
   end
end

-- the products take turns, they are not drawn by lot: so many requests then have so many bytes of answers
local function get_product()
   product = product % PRODUCTS + 1
   return get_products[product], "product"
end

makers = {
   list = function() return get_menu, "menu" end,
   one = get_product,
   ["304"] = function() return get_current, "menu" end,
   new = function() return post_order, "order" end,
   replay = function() return post_keyed[math.random(KEYS)], "order" end,
   coupon = function() return post_coupon, "order" end,
   -- nine reads to one order, half of the reads the menu
   mix = function()
      turn = turn + 1
      if turn % 10 == 0 then return post_order, "order" end
      if turn % 2 == 0 then return get_menu, "menu" end
      return get_product()
   end,
}

local function kind_of(body)
   if body == menu or body == other_menu then return "menu" end
   if known_products[body] then return "product" end
   if body:find(total, 1, true) and body:find('"status":"placed"', 1, true) then return "order" end
   return nil
end

local WANTED = { list = "menu", one = "product", new = "order", replay = "order", coupon = "order" }

-- The kind of a right answer, nil for a wrong one.
local function right_kind(status, body)
   if scenario == "304" then
      return status == 304 and body == "" and "menu" or nil
   end
   local kind = status == 200 and kind_of(body) or nil
   return (scenario == "mix" or kind == WANTED[scenario]) and kind or nil
end

-- What the answer was on the wire. The judged run's own bytes show whether this is so.
local function size_of(status, headers, body)
   local size = #("HTTP/1.1 200 " .. REASONS[status] .. "\r\n\r\n") + #body
   for name, value in pairs(headers) do
      size = size + #(name .. ": " .. value .. "\r\n")
   end
   return size
end

function judge(status, headers, body)
   local kind = right_kind(status, body)
   if not kind then
      wrong = wrong + 1
      if example == "" then example = status .. " " .. body:sub(1, 200) end
      return
   end
   local size = size_of(status, headers, body)
   _G[COUNTS[kind]] = _G[COUNTS[kind]] + 1
   _G[SIZES[kind]] = _G[SIZES[kind]] + size
   largest = math.max(largest, size)
end

local function sum(name)
   local all = 0
   for _, thread in ipairs(threads) do all = all + thread:get(name) end
   return all
end

local function quote(text)
   return '"' .. text:gsub('[%c"\\]', " ") .. '"'
end

local function by_kind(names)
   local parts = {}
   for _, kind in ipairs(KINDS) do
      table.insert(parts, string.format('"%s": %d', kind, sum(names[kind])))
   end
   return "{" .. table.concat(parts, ", ") .. "}"
end

-- Called in a state of its own, in which init was not called.
function done(summary, latency, requests)
   local errors = summary.errors
   local first, judged, most = "", false, 0
   for _, thread in ipairs(threads) do
      if first == "" then first = thread:get("example") end
      judged = thread:get("judges")
      most = math.max(most, thread:get("largest"))
   end
   print(string.format(
      'RESULT {"judged": %s, "requests": %d, "seconds": %.6f, "bytes": %d, "counts": %s, "sizes": %s, "largest": %d,'
      .. ' "wrong": %d, "socket_errors": %d, "timeouts": %d, "p50_us": %d, "p99_us": %d, "max_us": %d, "example": %s}',
      tostring(judged), summary.requests, summary.duration / 1e6, summary.bytes, by_kind(COUNTS), by_kind(SIZES), most,
      judged and sum("wrong") or errors.status, errors.connect + errors.read + errors.write, errors.timeout,
      latency:percentile(50), latency:percentile(99), latency.max, quote(first)))
end

/** What the pages say, in English. */
export const texts = {
  shared: {
    payAtTheCounter: "Pay at the counter.",
    subtotal: "Subtotal",
    discount: "Discount",
    /** @param {string} code */
    discountBy: (code) => `Discount (${code})`,
    total: "Total",
    /** @param {number | undefined} number */
    order: (number) => (number === undefined ? "Order" : `Order ${number}`),
    /** @param {string} since */
    notLive: (since) => `Not live since ${since}; trying again.`,
    /** @type {Record<string, string>} */
    steps: {
      placed: "Placed",
      accepted: "Accepted",
      ready: "Ready",
      completed: "Completed",
      cancelled: "Cancelled",
    },
    noAnswer: "The shop does not answer; trying again.",
    noCookies: "Your browser keeps no cookies for this page; without them nobody can order here.",
    noGuests: "This shop takes no orders from this page.",
  },
  storefront: {
    loading: "Loading the menu…",
    forStaff: "For staff: the kitchen's board",
    noMenu: "The menu cannot be loaded at the moment; trying again…",
    nothing: "There is nothing on the menu yet.",
    unanswered: "No answer at the moment",
    open: "Open",
    /**
     * @param {string | null} until
     * @param {string} [message]
     */
    paused: (until, message) =>
      `Paused${until === null ? "" : ` until ${until}`}${message ? `: ${message}` : ""}`,
    menu: "Menu",
    add: "Add",
    /** @param {string} name */
    addDish: (name) => `Add ${name}`,
    soldOut: "Sold out",
    contains: "Contains",
    containsNone: "Contains none of the 14 allergens that must be declared.",
    /** @type {Record<string, string>} */
    allergens: {
      gluten: "gluten",
      crustaceans: "crustaceans",
      eggs: "eggs",
      fish: "fish",
      peanuts: "peanuts",
      soybeans: "soybeans",
      milk: "milk",
      nuts: "nuts",
      celery: "celery",
      mustard: "mustard",
      sesame: "sesame",
      sulphites: "sulphites",
      lupin: "lupin",
      molluscs: "molluscs",
    },
    /** @param {number} quantity */
    chosen: (quantity) => `${quantity} chosen`,
    yourOrder: "Your order",
    toYourOrder: "To your order",
    empty: "Nothing chosen yet.",
    show: "Show what I chose",
    each: "each",
    /** @param {string} name */
    less: (name) => `One less ${name}`,
    /** @param {string} name */
    more: (name) => `One more ${name}`,
    /** @param {string} name */
    remove: (name) => `Remove ${name}`,
    /**
     * @param {string} name
     * @param {number} quantity
     */
    nowChosen: (name, quantity) => `${name}: ${quantity}`,
    coupon: "Coupon",
    name: "Name for pick-up",
    note: "Note for the kitchen",
    place: "Place order",
    asking: "Asking…",
    totalChanged: "The total has changed.",
    /** @param {string} total */
    priceChanged: (total) =>
      `The price has changed: it is now ${total}. Nothing was ordered yet; press again to order at this price.`,
    placing: "Placing your order…",
    checking: "We are checking your order…",
    checkingMore: "It is sent again by itself, and made only once. You can leave this page open.",
    /** @param {string} time */
    old: (time) => `We could not find out whether your order of ${time} was placed.`,
    lost: "We could not find out whether your order was placed: this browser has lost its session. Please ask at the counter before you order again.",
    again: "Try again",
    discard: "Give it up",
    history: "From this browser",
    wasOrdered: "This was ordered already: see below.",
    /** @type {Record<string, string>} by the reason of a refusal */
    refusals: {
      closed: "The shop takes no orders at the moment.",
      sold_out: "Something is sold out.",
      unknown_product: "Something is no longer on the menu.",
      limit: "That is more than can be ordered at once.",
      coupon_used_up: "This coupon is used up.",
      guest_coupon: "This coupon is not for orders without an account.",
      open_orders: "Three of your orders are waiting already. Order again once one is done.",
      body_size: "This is too long.",
    },
    /** @type {Record<string, string>} by the member of the request that is refused */
    fields: {
      "pickup.name": "At most 60 characters, in plain text.",
      "pickup.note": "At most 200 characters, in plain text.",
      couponCode: "This is no coupon.",
    },
    /**
     * Why a coupon is refused, which the service says in English.
     *
     * @param {string} message
     */
    couponRefused: (message) => `${message.charAt(0).toUpperCase()}${message.slice(1)}.`,
  },
  order: {
    loading: "Loading the order…",
    notFound: "There is no such order here",
    notFoundMore: "It may be of another browser, or somebody else’s.",
    toTheMenu: "To the menu",
    /** @type {Record<string, (time: string | null) => string>} */
    states: {
      placed: () => "Placed: waiting for the kitchen",
      accepted: (time) => (time ? `In the kitchen, ready about ${time}` : "In the kitchen"),
      ready: () => "Ready: please collect",
      completed: () => "Completed: enjoy your meal",
      cancelled: () => "Cancelled",
    },
    steps: "How far it is",
    done: "done",
    /** @type {Record<string, string>} */
    cancelled: {
      customer: "Cancelled by you",
      shop: "Cancelled by the shop",
    },
    /** @type {Record<string, string>} */
    reasons: {
      sold_out: "something is sold out",
      closing: "the shop is closing",
      duplicate: "it was ordered twice",
      customer_request: "as you asked",
      no_show: "it was not collected",
    },
    contents: "What was ordered",
    name: "Name",
    note: "Note",
    placedAt: "Placed at",
    cancel: "Cancel order",
    cancelling: "Cancelling…",
    cancelFailed: "That could not be sent. Please try again.",
    tooLate: "It is too late to cancel: the kitchen has begun.",
  },
  kitchen: {
    title: "Kitchen",
    documentTitle: (/** @type {string} */ count) => `(${count}) Kitchen`,
    loading: "Loading the orders…",
    staffKey: "Staff key",
    startShift: "Start shift",
    endShift: "End shift",
    wrongKey: "This key is not valid.",
    mayNot: "This key may not run the kitchen.",
    noAnswer: "The service does not answer. Try again.",
    tooManyTries: "Too many tries. Wait a minute.",
    shiftEnded: "The shift has ended.",
    signedOut: (/** @type {number} */ waiting) =>
      waiting
        ? `This key is no longer valid. Presses that wait: ${waiting}. They go out when you have signed in.`
        : "This key is no longer valid. Sign in to go on.",
    columns: { placed: "New", accepted: "In the kitchen", ready: "Ready" },
    order: "Order",
    actions: {
      accept: "Accept",
      ready: "Ready",
      complete: "Complete",
      recall: "Recall",
      cancel: "Cancel",
      see: "Seen",
    },
    states: {
      held: (/** @type {string} */ action) => `${action}: in a moment, unless it is undone`,
      waiting: (/** @type {string} */ action) => `${action}: waits until the service answers`,
      sending: (/** @type {string} */ action) => `${action}…`,
    },
    minutes: "Minutes",
    dueAt: (/** @type {string} */ time) => `due at ${time}`,
    waiting: "waiting",
    late: "late",
    nearlyDue: "nearly due",
    notFetched: "not fetched",
    reason: "Reason",
    reasons: {
      sold_out: "Sold out",
      closing: "Closing",
      duplicate: "Duplicate",
      customer_request: "Guest asked",
      no_show: "Not fetched",
      other: "Other",
    },
    cancelTitle: (/** @type {string} */ number) => `Cancel order ${number}?`,
    cancelNote: "Note to the guest",
    keep: "Keep the order",
    cancelledByGuest: "Cancelled by the guest",
    cancelledByShop: (/** @type {string} */ reason) => `Cancelled: ${reason}`,
    statuses: /** @type {Record<string, string>} */ ({
      placed: "new",
      accepted: "in the kitchen",
      ready: "ready",
      completed: "completed",
      cancelled: "cancelled",
    }),
    overtaken: (
      /** @type {string} */ number,
      /** @type {string} */ action,
      /** @type {string} */ status,
    ) => `${action} was not done: order ${number} is ${status} now.`,
    gone: (/** @type {string} */ action) => `${action} was not done: there is no such order any more.`,
    undos: "What can be undone",
    undo: "Undo",
    done: (/** @type {string} */ number, /** @type {string} */ action) => {
      if (action === "cancel") return `Order ${number} will be cancelled.`;
      return action === "ready" ? `Order ${number} is ready.` : `Order ${number} is completed.`;
    },
    notLive: (/** @type {string} */ time) => `Not live since ${time}.`,
    waitingPresses: (/** @type {number} */ count) =>
      count ? `Presses that wait: ${count}.` : "What you press waits, and goes out later.",
    allDay: "All day",
    completed: "Last completed",
    menu: "Menu",
    soldOut: "sold out",
    available: "available",
    isSoldOut: "sold out",
    sending: "sending…",
    pause: "Pause the shop",
    resume: "Resume",
    paused: "The shop is paused",
    pausedUntil: (/** @type {string} */ time) => `The shop is paused until ${time}`,
    pauseFor: (/** @type {number} */ minutes) => (minutes ? `${minutes} minutes` : "Until further notice"),
    pauseMessage: "Message to the guests",
    back: "Back",
    mute: "Mute",
    help: "Help",
    close: "Close",
    keys: [
      ["1–9", "choose an order"],
      ["Enter", "its next step"],
      ["R", "recall it, or the order that was completed last"],
      ["M", "mute, or sound again"],
      ["?", "these keys"],
    ],
  },
};
